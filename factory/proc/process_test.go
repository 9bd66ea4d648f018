package proc_test

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestTimeoutSaysWhatItWaitedFor(t *testing.T) {
	t.Parallel()
	waiting := errors.New("the registry did not answer within 1 s")
	ctx, cancel := context.WithCancelCause(t.Context())
	w, ready := lines(t)
	c := program("polite")
	c.Stdout = w
	p, err := c.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	readLine(t, ready)
	cancel(waiting)
	res, err := p.Wait()
	if !errors.Is(err, waiting) || !strings.HasSuffix(err.Error(), "stopped: the registry did not answer within 1 s") || res.Exit != 0 {
		t.Errorf("%+v, %v", res, err)
	}
	if _, err := c.Start(ctx); !errors.Is(err, waiting) || !strings.Contains(err.Error(), "not started") {
		t.Errorf("after the end: %v", err)
	}
}

func TestStop(t *testing.T) {
	t.Parallel()
	w, ready := lines(t)
	c := program("polite")
	c.Stdout = w
	p, err := c.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	readLine(t, ready)
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	<-p.Done()
	if res, err := p.Wait(); err != nil || res.Exit != 0 {
		t.Errorf("%+v, %v", res, err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Errorf("second stop: %v", err)
	}
}

func TestStopKillsTheStubborn(t *testing.T) {
	t.Parallel()
	w, ready := lines(t)
	c := program("stubborn")
	c.Stdout, c.Grace = w, time.Millisecond
	p, err := c.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	readLine(t, ready)
	if err := p.Stop(t.Context()); err == nil || !strings.Contains(err.Error(), "had to be killed") {
		t.Errorf("got %v", err)
	}
	if res, err := p.Wait(); err != nil || res.Signal != "killed" || res.Exit != 137 {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestStopDoesNotOutlastItsContext(t *testing.T) {
	t.Parallel()
	w, ready := lines(t)
	c := program("stubborn")
	c.Stdout, c.Grace = w, time.Hour
	p, err := c.Start(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	readLine(t, ready)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Stop(ctx); err == nil {
		t.Error("want word that it was killed")
	}
}

func TestStopTakesTheGroup(t *testing.T) {
	t.Parallel()
	w, out := lines(t)
	c := program("parent")
	c.Stdout, c.Grace = w, 5*time.Second
	p, err := c.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(readLine(t, out))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	gone(t, child)
}

func TestLeftBehindHoldsOutput(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	c := program("leaver")
	c.Stdout, c.Grace = &out, 200*time.Millisecond
	_, err := c.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "still holds its output") {
		t.Errorf("got %v", err)
	}
	for field := range strings.FieldsSeq(out.String()) {
		if pid, err := strconv.Atoi(field); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			gone(t, pid)
		}
	}
}

func TestDiesWithTheFactory(t *testing.T) {
	t.Parallel()
	w, out := lines(t)
	c := program("factory")
	c.Stdout = w
	p, err := c.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	daemon, err := strconv.Atoi(readLine(t, out))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(p.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if res, err := p.Wait(); err == nil || !strings.HasSuffix(err.Error(), "died: killed") || res.Exit != 137 {
		t.Errorf("%+v, %v", res, err)
	}
	gone(t, daemon)
}

package store_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/store"
	"github.com/imagefactory/imagefactory/factory/store/storetest"
)

// writerPath makes this test binary a process that writes to the database named until it is killed.
const writerPath = "STORE_TEST_WRITE_TO"

// write says on stdout which release it was promised to have been kept.
func write(path string) {
	ctx := context.Background()
	s, err := store.Open(ctx, path, store.Options{Now: time.Now})
	if err == nil {
		s.Follow = func(e factory.Entry) []factory.Trigger {
			return []factory.Trigger{{ID: "t-" + e.ID, Dependent: e.Image}}
		}
	}
	for n, _ := strconv.Atoi(os.Getenv("STORE_TEST_FROM")); err == nil; n++ {
		image := fmt.Sprintf("image-%d", n)
		run := "run-" + image
		if err = s.BeginRun(ctx, factory.Run{ID: run, Started: time.Now()}); err != nil {
			break
		}
		r := storetest.Release(image, 1)
		r.Inputs = make([]byte, 300_000+n)
		for i := range r.Inputs {
			r.Inputs[i] = byte(i * (n + i>>8))
		}
		r.Documents[0] = factory.NewDocument(factory.ARF, "x", factory.Platform{}, "", r.Inputs[n:])
		if err = storetest.Add(ctx, s, r); err == nil {
			fmt.Println(image)
		}
	}
	fmt.Println("error:", err)
}

// kill -9 in the middle of a write leaves a good database with everything that was acknowledged.
func TestKilledWhileWriting(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "factory.db")
	var promised []string
	for round := range 5 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), writerPath+"="+path, fmt.Sprintf("STORE_TEST_FROM=%d", round*1000))
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for range 3 + 4*round {
			if !lines.Scan() {
				t.Fatal("the writer ended by itself")
			}
			promised = append(promised, lines.Text())
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() { // what it still said before it died
			promised = append(promised, lines.Text())
		}
		if err := child.Wait(); err == nil {
			t.Fatal("the writer was not killed")
		}
		verify(t, path, promised)
	}
}

func verify(t *testing.T, path string, promised []string) {
	t.Helper()
	s := open(t, path)
	for _, image := range promised {
		r, err := s.Release(t.Context(), image)
		if err != nil {
			t.Fatalf("%s was acknowledged: %v", image, err)
		}
		if _, err := s.Run(t.Context(), "run-"+image); err != nil || len(r.Inputs) < 300_000 {
			t.Errorf("%s was acknowledged: %d bytes of inputs, %v", image, len(r.Inputs), err)
		}
		d, err := s.Document(t.Context(), r.ID, factory.ARF, "x")
		scan, noScan := s.LatestScan(t.Context(), r.ID)
		if err := errors.Join(err, noScan); err != nil || len(d.Data) < 100_000 || len(scan.Findings) != 1 {
			t.Errorf("%s was acknowledged: %d bytes of a document, %+v, %v", image, len(d.Data), scan, err)
		}
	}
	// Between a release and its trigger nobody can be killed: both are there, or neither.
	ledger, err := s.Ledger(t.Context(), store.LedgerQuery{})
	if err != nil {
		t.Fatal(err)
	}
	counts, err := s.CountTriggers(t.Context())
	if err != nil || counts[factory.TriggerWaiting] != len(ledger) || len(ledger) < len(promised) {
		t.Errorf("%d entries, %d promised, triggers %v, %v", len(ledger), len(promised), counts, err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var verdict string
	if err := db.QueryRow("PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		t.Fatalf("integrity: %s, %v", verdict, err)
	}
}

package downstream_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/downstream"
)

// The receiver in README takes what the factory sends, and nothing else.
func TestReceiverInREADME(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	program := regexp.MustCompile("(?s)```python\n(# receiver.py.*?)```").FindSubmatch(readme)
	if program == nil {
		t.Fatal("there is no receiver in README")
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"receiver.py": string(program[1]), "secrets": "whsec_bmV4dC1uZXh0LW5leHQ=\n" + secret + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	receiver := exec.CommandContext(t.Context(), "python3", "-I", "receiver.py", "secrets", "0")
	receiver.Dir = dir
	out, err := receiver.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := receiver.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = receiver.Process.Kill(); _ = receiver.Wait() })
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("it does not say its port")
	}
	server := factory.Server{ID: "hooks", URL: "http://127.0.0.1:" + lines.Text()}
	n := notice(factory.TellWebhook)
	for skew, refused := range map[time.Duration]bool{0: false, -4 * time.Minute: false, 4 * time.Minute: false, -6 * time.Minute: true, 6 * time.Minute: true} {
		c := downstream.Client{Now: func() time.Time { return time.Now().Add(skew) }}
		if _, err := c.Tell(t.Context(), server, secret, n); (err != nil) != refused {
			t.Errorf("%s: %v", skew, err)
		}
	}
	c := downstream.Client{Now: time.Now}
	if _, err := c.Tell(t.Context(), server, "a-secret-of-somebody-else", n); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("another secret: %v", err)
	}
	n.Trigger.Key, n.Trigger.Ref = "key-2", base+"@"+oldDigest
	if _, err := c.Tell(t.Context(), server, "an-older-secret-of-ours whsec_bmV4dC1uZXh0LW5leHQ=", n); err != nil {
		t.Error(err)
	}
	for _, want := range []string{base + "@" + newDigest, base + "@" + oldDigest} { // each id once
		if !lines.Scan() || lines.Text() != want {
			t.Errorf("it was told of %q, want %q", lines.Text(), want)
		}
	}
}

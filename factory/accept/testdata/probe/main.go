// Probe is the only program of the image that the tests of package accept test.
package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	args := os.Args[2:]
	switch os.Args[1] {
	case "who":
		groups, _ := os.Getgroups()
		dir, _ := os.Getwd()
		fmt.Println(os.Getuid(), os.Getgid(), groups, dir, os.Getenv("HOME"), os.Getenv("LANG"), os.Getenv("PYTHONUTF8"))
	case "say":
		fmt.Print(args[0])
		fmt.Fprint(os.Stderr, args[1])
	case "exit":
		fmt.Fprint(os.Stderr, "reason: ", args[0])
		os.Exit(4)
	case "flood":
		_, _ = io.WriteString(os.Stdout, strings.Repeat("x", 1<<20)+"END")
	case "hang":
		<-forever()
	case "die":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		<-forever()
	case "daemon": // leaves a process behind that holds the output
		cmd := exec.Command("/bin/probe", "hang")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		if err := cmd.Start(); err != nil {
			os.Exit(9)
		}
	case "forge": // tries what a hostile program could
		forged := []byte(`{"files":[],"read":{},"setuid":{"paths":[],"more":0,"errors":[]},"commands":[]}`)
		for _, path := range []string{"/.out/results.json", "/.accept/tests.json", "/.accept/accept.py", "/etc/passwd"} {
			if err := os.WriteFile(path, forged, 0o666); err == nil {
				fmt.Println("wrote", path)
			}
		}
		_ = os.Chmod("/bin/probe", 0o6755)
		if err := syscall.Kill(1, syscall.SIGKILL); err == nil {
			fmt.Println("signalled the first process")
		}
	}
}

func forever() <-chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1)
	return c
}

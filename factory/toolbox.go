package factory

// ToolboxMount is where a Step with Toolbox set finds the toolbox.
const ToolboxMount = "/.toolbox"

// ToolboxShell is what a Step with Shell lends a root: path there → path in the toolbox.
func ToolboxShell() map[string]string {
	return map[string]string{
		"/bin/sh":                             "/usr/bin/dash",
		"/lib64/ld-linux-x86-64.so.2":         "/usr/lib64/ld-linux-x86-64.so.2",
		"/usr/lib/x86_64-linux-gnu/libc.so.6": "/usr/lib/x86_64-linux-gnu/libc.so.6",
	}
}

// TargetMount is where a Step with InToolbox finds its root filesystem.
const TargetMount = "/target"

// ToolboxPython returns the command line that runs the toolbox's Python inside a foreign root: through the toolbox's own
// loader, so that nothing of the target (no shell, no libc, no ld.so.cache) takes part. It exports neither PYTHONHOME nor
// LD_LIBRARY_PATH, because programs of the target that the script starts would see them.
func ToolboxPython(args ...string) []string {
	return append([]string{
		ToolboxMount + "/usr/lib64/ld-linux-x86-64.so.2", "--inhibit-cache",
		"--library-path", ToolboxMount + "/usr/lib/x86_64-linux-gnu",
		"--argv0", ToolboxMount + "/opt/tb/bin/python3",
		ToolboxMount + "/usr/bin/python3.13", "-s",
	}, args...)
}

// ToolboxProgram returns the command line that runs another program of the toolbox, named by its path there, in the same way.
func ToolboxProgram(program string, args ...string) []string {
	return append([]string{
		ToolboxMount + "/usr/lib64/ld-linux-x86-64.so.2", "--inhibit-cache",
		"--library-path", ToolboxMount + "/usr/lib/x86_64-linux-gnu",
		ToolboxMount + program,
	}, args...)
}

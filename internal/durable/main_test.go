package durable

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"go.uber.org/goleak"
)

// child is what this test binary does, instead of tests, in a process that a test starts in order to kill it.
const childEnv = "DURABLE_TEST_CHILD"

var children = map[string]func(path string){
	"rewrite": childRewrite,
	"stage":   childStage,
	"lock":    childLock,
}

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		children[name](os.Getenv(childEnv + "_PATH"))
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// startChild starts one and returns when it has printed a line.
func startChild(t *testing.T, name, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+name, childEnv+"_PATH="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatalf("child %s did not start: %v", name, err)
	}
	return cmd
}

func ready() { fmt.Println("ready") }

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func mustWrite(t *testing.T, path, data string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

// names are the names in folder.
func names(t *testing.T, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// uniform reports whether data is length times the same byte.
func uniform(data []byte, length int) bool {
	return len(data) == length && bytes.Count(data, data[:1]) == length
}

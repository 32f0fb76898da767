package test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// binary is the command under test, built once and without the race detector: it is what users run.
var binary string

// sharedHome is where sessions of this process keep what lasts, but where a test says otherwise: no test touches what the
// user's own programs keep.
var sharedHome string

func TestMain(m *testing.M) {
	programs := map[string]func([]string) error{"session": sessionProcess, "ask": askProcess}
	if len(os.Args) > 1 && programs[os.Args[1]] != nil { // tests have this binary be programs of users
		if err := programs[os.Args[1]](os.Args); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if signal.Ignored(syscall.SIGHUP) { // as under nohup, which the programs that tests start would inherit
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "urlsession-binary-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "urlsession")
		build := exec.Command("go", "build", "-o", binary, "./cmd/urlsession")
		build.Dir = ".."
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build the command: %v\n%s", err, out)
			return 1
		}
		sharedHome = filepath.Join(dir, "home")
		setHome(func(name, value string) { err = errors.Join(err, os.Setenv(name, value)) }, sharedHome)
		if err = errors.Join(err, os.Mkdir(sharedHome, 0o700)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                "testdata",
		Setup:              setup,
		Condition:          condition,
		RequireUniqueNames: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"run":        run,
			"start":      start,
			"signal":     signalRun,
			"finish":     finish,
			"shows":      shows,
			"peak":       peak,
			"origin":     origin,
			"scene":      scene,
			"requests":   requests,
			"sent":       sent,
			"resuming":   resuming,
			"received":   received,
			"uploads":    uploads,
			"asked":      asked,
			"atonce":     atonce,
			"proxy":      proxy,
			"proxied":    proxied,
			"store":      store,
			"plan":       plan,
			"amend":      amend,
			"fails":      fails,
			"stalls":     stalls,
			"begun":      begun,
			"completed":  completed,
			"held":       held,
			"stored":     stored,
			"nginx":      nginx,
			"httpbin":    startHTTPBin,
			"ntlm":       startNTLM,
			"matches":    matches,
			"body":       body,
			"list":       list,
			"events":     events,
			"count":      count,
			"waitfor":    waitfor,
			"only":       only,
			"tmpfs":      tmpfs,
			"certs":      certs,
			"until":      until,
			"pid":        pid,
			"killdaemon": killDaemon,
		},
	})
}

// setup gives each script its own home, without a config file and proxies, and the state folder of a daemon of its own, which
// ends with the script.
func setup(env *testscript.Env) error {
	vars := env.Vars[:0]
	for _, v := range env.Vars {
		if name, _, _ := strings.Cut(v, "="); !strings.HasSuffix(strings.ToLower(name), "_proxy") {
			vars = append(vars, v)
		}
	}
	env.Vars = append(vars,
		"HOME="+filepath.Join(env.WorkDir, ".home"),
		"XDG_CONFIG_HOME="+filepath.Join(env.WorkDir, ".config"),
		"XDG_RUNTIME_DIR="+filepath.Join(env.WorkDir, ".runtime"),
		"URLSESSION_STATE="+filepath.Join(env.WorkDir, ".state"),
		"DBUS_SESSION_BUS_ADDRESS=unix:path="+filepath.Join(env.WorkDir, "none"), // nobody's keyring is asked
		"PATH="+filepath.Dir(binary)+string(os.PathListSeparator)+os.Getenv("PATH"))
	env.Values[stateKey{}] = newState()
	env.Defer(func() { endDaemons(env.WorkDir) })
	return nil
}

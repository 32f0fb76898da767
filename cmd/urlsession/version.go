package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/spf13/cobra"
)

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, the Go it was built with, and the commit",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			version, commit := build()
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "urlsession %s\n%s %s/%s\ncommit %s\n",
				version, runtime.Version(), runtime.GOOS, runtime.GOARCH, commit)
			return writeError(err)
		},
	}
}

// build says what the binary was made from: the module's version, "(devel)" for a working tree, and the commit,
// "unknown" where Go did not stamp one (go run, go build -buildvcs=false, a module from the proxy).
func build() (version, commit string) {
	version, commit = "(devel)", "unknown"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return version, commit
	}
	if info.Main.Version != "" {
		version = info.Main.Version
	}
	modified := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = " (modified)"
		}
	}
	return version, commit + modified
}

// userAgent is what servers are told unless -H says otherwise. It names no commit and no machine. It is found out once: a list
// has many requests.
var userAgent = sync.OnceValue(func() string {
	version, _ := build()
	if version == "(devel)" {
		return "urlsession"
	}
	return "urlsession/" + version
})

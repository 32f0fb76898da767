package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// execute runs one command line and returns its exit status.
func execute(args []string, std stdio) int {
	root := newCommand(std)
	root.SetArgs(args)
	cmd, err := root.ExecuteC()
	return finish(cmd, std, err)
}

func newCommand(std stdio) *cobra.Command {
	root := &cobra.Command{
		Use:   "urlsession",
		Short: "Download, upload and fetch over HTTP; go on where it was stopped",
		Long: `Download, upload and fetch over HTTP; go on where it was stopped.

Defaults for flags stand in $XDG_CONFIG_HOME/urlsession/config.toml, a line a flag: retry = 10
Exit status: 0 all succeeded, 1 a transfer failed, 2 usage, 3 no daemon, 130 interrupted.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return usagef("give a command, such as download, upload or data; urlsession --help lists them")
		},
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetIn(std.in)
	root.SetOut(std.out)
	root.SetErr(std.err)
	root.SetFlagErrorFunc(flagError)
	registerState(root)
	root.AddCommand(newDownload(), newUpload(), newData(), newSession(), newTask(), newEvents(), newCookie(), newCredential(), newCache(), newDaemon(), newVersion(), newCompletion())
	return root
}

// flagError is what is wrong with a flag. A token that was written behind --token is not repeated.
func flagError(_ *cobra.Command, err error) error {
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok && e.GetFlag().Name == "token" {
		return usagef("--token takes no value, since ps shows arguments: set %s, or be asked for the token", tokenVariable)
	}
	return err
}

func newCompletion() *cobra.Command {
	shells := []string{"bash", "zsh", "fish"}
	return &cobra.Command{
		Use:       "completion " + strings.Join(shells, "|"),
		Short:     "Print a completion script for a shell",
		ValidArgs: shells,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			root, out := cmd.Root(), cmd.OutOrStdout()
			switch args[0] {
			case "bash":
				return writeError(root.GenBashCompletionV2(out, true))
			case "zsh":
				return writeError(root.GenZshCompletion(out))
			default:
				return writeError(root.GenFishCompletion(out, true))
			}
		},
	}
}

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/urlsession/urlsession"
)

// answerFlags are those of task answer.
type answerFlags struct {
	user, keep                                string
	token, cancel, reject, useDefault, asJSON bool
}

func newTaskAnswer() *cobra.Command {
	f := new(answerFlags)
	cmd := &cobra.Command{
		Use:   "answer ID/N",
		Short: "Answer a task that waits since a server, or a proxy, wants to know who asks",
		Long: `Answer a task that waits since a server, or a proxy, wants to know who asks: task list shows such tasks as
"waits: authentication".

It says who asks, for what and how, and asks for the user and the password on the terminal. With --user the password may come
from $` + passwordVariable + `, with --token the token from $` + tokenVariable + `. The answer is stored when the command ends, and tried at once;
where the server refuses it, the task asks anew.`,
		Example: `  urlsession task answer films/3
  urlsession task answer films/3 --user me --keep permanent
  urlsession task answer films/3 --cancel`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := parseTaskName(args[0])
			if err != nil {
				return err
			}
			keep, ok := keeps[f.keep]
			if !ok {
				return usagef("--keep %s: it is session, permanent or none", f.keep)
			}
			return withDaemon(cmd, func(ctx context.Context, d urlsession.Daemon) error {
				return withTask(ctx, d, name, func(t *urlsession.Task) error {
					return f.answer(ctx, cmd, name, t, keep)
				})
			})
		},
	}
	p := cmd.Flags()
	p.SortFlags = false
	p.StringVar(&f.user, "user", "", "the `NAME` of the user; for NTLM also DOMAIN\\user")
	p.BoolVar(&f.token, "token", false, "answer by a bearer token")
	p.BoolVar(&f.cancel, "cancel", false, "end the task (-1012)")
	p.BoolVar(&f.reject, "reject", false, "go on with the next method that the server offers; after the last, its refusal is the response")
	p.BoolVar(&f.useDefault, "default", false, "go on as if nobody had been asked: mostly the refusal is the response")
	p.StringVar(&f.keep, "keep", "session", "keep the credential for other tasks: `HOW` is session, permanent or none")
	p.BoolVar(&f.asJSON, "json", false, "print what was answered as JSON, without secrets")
	cmd.MarkFlagsMutuallyExclusive("user", "token", "cancel", "reject", "default")
	return cmd
}

var keeps = map[string]urlsession.Persistence{
	"session": urlsession.PersistenceForSession, "permanent": urlsession.PersistencePermanent, "none": urlsession.PersistenceNone,
}

var dispositionNames = map[urlsession.ChallengeDisposition]string{
	urlsession.UseDefaultHandling: "default", urlsession.UseCredential: "use", urlsession.CancelChallenge: "cancel", urlsession.RejectProtectionSpace: "reject",
}

func (f *answerFlags) answer(ctx context.Context, cmd *cobra.Command, name taskName, t *urlsession.Task, keep urlsession.Persistence) error {
	status, err := t.Status(ctx)
	if err != nil {
		return err
	}
	w := status.Waiting
	if w == nil || w.Challenge == nil {
		return failedf("%s: the task asks nothing: it %s", name, explain(status))
	}
	fmt.Fprintln(cmd.ErrOrStderr(), oneLine(name.String()+": "+challengeText(w.Challenge)))
	var a urlsession.ChallengeAnswer
	switch {
	case f.cancel:
		a.Disposition = urlsession.CancelChallenge
	case f.reject:
		a.Disposition = urlsession.RejectProtectionSpace
	case f.useDefault:
		a.Disposition = urlsession.UseDefaultHandling
	default:
		a.Disposition = urlsession.UseCredential
		if a.Credential, err = f.credential(w.Challenge); err != nil {
			return err
		}
		a.Credential.Persistence = keep
	}
	if err := t.Answer(ctx, w.Ticket, a); err != nil {
		return err
	}
	if !f.asJSON {
		return nil
	}
	out := struct {
		Session     string            `json:"sessionIdentifier"`
		Task        urlsession.TaskID `json:"taskIdentifier"`
		Ticket      string            `json:"ticket"`
		Disposition string            `json:"disposition"`
		User        string            `json:"user,omitempty"`
		Keep        string            `json:"keep,omitempty"`
		Challenge   any               `json:"challenge"`
	}{name.session, name.id, w.Ticket, dispositionNames[a.Disposition], a.Credential.User, "", challengeJSON(w.Challenge)}
	if a.Disposition == urlsession.UseCredential {
		out.Keep = f.keep
	}
	return writeError(writeJSON(cmd.OutOrStdout(), out))
}

// credential asks for what the challenge is to be answered by.
func (f *answerFlags) credential(c *urlsession.Challenge) (answer urlsession.Credential, err error) {
	where := oneLine(originOf(c.Space))
	if f.token || f.user == "" && c.Space.Method == urlsession.AuthBearer {
		answer.Token, err = askSecret(tokenVariable, "the answer", "a token", "Token for "+where)
		return answer, err
	}
	answer.User = f.user
	if strings.Contains(answer.User, ":") {
		return answer, usagef("--user takes a name alone, since ps shows arguments: set %s, or be asked for the password", passwordVariable)
	}
	if answer.User == "" {
		if answer.User, err = askUser("User for "+where, c.ProposedUser); err != nil {
			return answer, err
		}
	}
	user := oneLine(answer.User)
	answer.Password, err = askSecret(passwordVariable, "the answer", "a password", fmt.Sprintf("Password for %s at %s", user, where))
	return answer, err
}

// askUser asks for a user's name on the terminal; an empty line is the one that is proposed.
func askUser(prompt, proposed string) (string, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return "", usagef("the answer needs a user, and there is no terminal to ask on: give --user NAME and set %s, or give --token and set %s", passwordVariable, tokenVariable)
	}
	defer tty.Close()
	if proposed != "" {
		prompt += " [" + oneLine(proposed) + "]"
	}
	fmt.Fprint(tty, prompt+": ")
	line, err := bufio.NewReader(io.LimitReader(tty, maxLine)).ReadString('\n')
	if err != nil {
		return "", usagef("read the user from the terminal: %w", err)
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		line = proposed
	}
	if line == "" {
		return "", usagef("no user was given")
	}
	return line, nil
}

// challengeText says who asks, for what, how, and what was refused.
func challengeText(c *urlsession.Challenge) string {
	text := originOf(c.Space)
	if c.Space.Proxy {
		text = "the proxy " + text
	}
	text += " wants to know who asks"
	if c.Space.Realm != "" {
		text += fmt.Sprintf(" for %q", c.Space.Realm)
	}
	text += " (" + string(c.Space.Method) + ")"
	if c.PreviousFailures > 0 {
		text += fmt.Sprintf("; it has refused %d", c.PreviousFailures)
		if c.Err != nil {
			text += ": " + c.Err.Error()
		}
	}
	return text
}

// challengeJSON is a challenge by the names of the wire.
func challengeJSON(c *urlsession.Challenge) any {
	type space struct {
		Proxy  bool                  `json:"proxy,omitempty"`
		Scheme string                `json:"scheme"`
		Host   string                `json:"host"`
		Port   int                   `json:"port"`
		Realm  string                `json:"realm,omitempty"`
		Method urlsession.AuthMethod `json:"method"`
	}
	out := struct {
		Space    space  `json:"protectionSpace"`
		User     string `json:"proposedUser,omitempty"`
		Failures int    `json:"previousFailureCount,omitempty"`
		Message  string `json:"message,omitempty"`
	}{space(c.Space), c.ProposedUser, c.PreviousFailures, ""}
	if c.Err != nil {
		out.Message = c.Err.Error()
	}
	return out
}

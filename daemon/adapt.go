package daemon

// Until the engine has them.

import (
	"context"

	"github.com/urlsession/urlsession/internal/transfer"
)

func (s *session) Alive() int {
	if e, ok := any(s.Engine).(interface{ Alive() int }); ok {
		return e.Alive()
	}
	return 0
}
func (s *session) Owned() bool {
	if e, ok := any(s.Engine).(interface{ Owned() bool }); ok {
		return e.Owned()
	}
	return false
}
func (s *session) SetLimits(n int, r int64) {
	if e, ok := any(s.Engine).(interface{ SetLimits(int, int64) }); ok {
		e.SetLimits(n, r)
	}
}
func (s *session) run(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
	b := *a
	var err error
	if b.RoundTripper, err = s.chain(a.Spec); err != nil {
		return transfer.Result{}, err
	}
	b.Temporary = s.temporary.dir
	return transfer.Run(ctx, &b)
}

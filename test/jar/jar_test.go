// Package jar compares the cookie storage, by the public API alone, with a model that is written from its specification.
package jar

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/urlsession/urlsession"
)

// TestModel takes the same steps with a storage and with the model. Time is synctest's.
func TestModel(t *testing.T) {
	steps := rapid.SliceOfN(steps(), 1, 40)
	rapid.Check(t, func(r *rapid.T) {
		taken := steps.Draw(r, "steps")
		var err error
		synctest.Test(t, func(*testing.T) { err = compare(taken) })
		if err != nil {
			r.Fatal(err)
		}
	})
}

func compare(steps []step) error {
	s, m := urlsession.NewCookieStorage(), &model{}
	for i, step := range steps {
		err := step.apply(s, m)
		if err == nil {
			err = sameCookies(s, m)
		}
		if err != nil {
			return fmt.Errorf("step %d of %d, %T%+v: %w", i+1, len(steps), step, step, err)
		}
	}
	return exported(s)
}

// sameCookies compares what requests would be sent with.
func sameCookies(s *urlsession.CookieStorage, m *model) error {
	for _, host := range hosts {
		for _, path := range paths {
			for _, scheme := range []string{"http://", "https://"} {
				u := parse(scheme + host + path)
				if got, want := listed(s.For(u)), m.field(u); got != want || sent(s.Cookies(u)) != want {
					return fmt.Errorf("%v is sent %q (%q), want %q", u, got, sent(s.Cookies(u)), want)
				}
			}
		}
	}
	return same(len(s.All()), len(m.cookies))
}

// exported: what a cookies.txt has of a storage is sent as the storage's, but for its order.
func exported(s *urlsession.CookieStorage) error {
	var text bytes.Buffer
	again := urlsession.NewCookieStorage()
	if err := s.Export(&text); err != nil {
		return err
	}
	if n, err := again.Import(&text); err != nil || n != len(s.All()) {
		return fmt.Errorf("%d of %d are imported: %w", n, len(s.All()), err)
	}
	for _, host := range hosts {
		u := parse("https://" + host + "/a/b")
		if got, want := sorted(listed(again.For(u))), sorted(listed(s.For(u))); got != want {
			return fmt.Errorf("exported and imported, %v is sent %q, want %q", u, got, want)
		}
	}
	return nil
}

func sorted(field string) string {
	parts := strings.Split(field, "; ")
	slices.Sort(parts)
	return strings.Join(parts, "; ")
}

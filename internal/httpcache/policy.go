package httpcache

import "context"

// Policy says how a request uses the cache: NSURLRequest.CachePolicy.
type Policy int

const (
	// UseProtocol does what RFC 9111 says.
	UseProtocol Policy = iota
	// ReloadIgnoringLocal asks the server whatever is stored, and stores what it answers.
	ReloadIgnoringLocal
	// ReturnElseLoad uses what is stored, however old, and asks the server where nothing is.
	ReturnElseLoad
	// ReturnDontLoad uses what is stored, however old. Where nothing is, it fails with task.CannotLoadFromNetwork.
	ReturnDontLoad
	// ReloadIgnoringLocalAndRemote is ReloadIgnoringLocal, and tells the caches on the way to do so too.
	ReloadIgnoringLocalAndRemote
	// ReloadRevalidating uses what is stored only if the server, beyond the caches on the way, says that it is still right.
	ReloadRevalidating
)

// Source says where a response came from.
type Source int

const (
	FromNetwork   Source = iota
	FromCache            // the server was not asked
	FromValidated        // the server was asked, and said that what is stored is still right (304)
)

// ContextKey is the type of the keys of what WithPolicy and WithoutCache note.
type ContextKey int

const (
	policyKey ContextKey = iota
	bypassKey
)

// WithPolicy has the requests of ctx use the cache so. Without it they follow the protocol.
func WithPolicy(ctx context.Context, p Policy) context.Context {
	return context.WithValue(ctx, policyKey, p)
}

// PolicyOf is how the requests of ctx use the cache.
func PolicyOf(ctx context.Context) Policy {
	p, _ := ctx.Value(policyKey).(Policy)
	return p
}

// WithoutCache has the requests of ctx neither use what is stored nor store anything. What they change at the server still
// makes stored responses invalid.
func WithoutCache(ctx context.Context) context.Context {
	return context.WithValue(ctx, bypassKey, true)
}

// Reporter is told the source of each response to a request of its context, before RoundTrip returns it.
type Reporter interface{ Fetched(Source) }

// ReporterKey is the key of a context's Reporter, for contexts that bring their own.
type ReporterKey struct{}

// WithReport has r be the Reporter of ctx.
func WithReport(ctx context.Context, r Reporter) context.Context {
	return context.WithValue(ctx, ReporterKey{}, r)
}

// ReporterOf is the Reporter of ctx; nil: there is none.
func ReporterOf(ctx context.Context) Reporter {
	r, _ := ctx.Value(ReporterKey{}).(Reporter)
	return r
}

func report(ctx context.Context, s Source) {
	if r := ReporterOf(ctx); r != nil {
		r.Fetched(s)
	}
}

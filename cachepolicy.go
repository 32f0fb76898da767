package urlsession

// CachePolicy says how a request uses the session's URLCache: NSURLRequest.CachePolicy.
type CachePolicy int

const (
	// CachePolicyDefault of a request is the session's; of a session it is CacheUseProtocol.
	CachePolicyDefault CachePolicy = iota
	// CacheUseProtocol does what RFC 9111 says.
	CacheUseProtocol
	// CacheReloadIgnoringLocal asks the server whatever is stored, and stores what it answers.
	CacheReloadIgnoringLocal
	// CacheReturnElseLoad uses what is stored, however old, and asks the server where nothing is.
	CacheReturnElseLoad
	// CacheReturnDontLoad uses what is stored, however old. Where nothing is, it is ErrCannotLoadFromNetwork.
	CacheReturnDontLoad
	// CacheReloadIgnoringLocalAndRemote is CacheReloadIgnoringLocal, and tells the caches on the way to do so too.
	CacheReloadIgnoringLocalAndRemote
	// CacheReloadRevalidating uses what is stored only if the server, beyond the caches on the way, says that it is still right.
	CacheReloadRevalidating
)

// Package httpcache is the response cache of one user: RFC 9111 as a private cache, RFC 5861 and RFC 8246, streaming.
// docs/cache.md says what is stored, when it is used, and what lies on disk.
//
//	… ─▶ Transport ─▶ Cache ─▶ net/http.Transport
//	     cookies        │
//	                 Storage    in memory, or files in a folder that several processes may use at once
//
// Cache is a decorator of a RoundTripper: it sees requests as they are sent, with their cookies and credentials, and
// responses as they came, still coded. A response reaches its reader while it is stored, and is an entry once it was read to
// its end. Storage keeps entries, and knows nothing of HTTP but what a head says.
package httpcache

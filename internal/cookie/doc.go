// Package cookie keeps cookies as a user agent does, by draft-ietf-httpbis-rfc6265bis ("the draft" in this package), in
// memory or in a sealed file that several processes may use at once. docs/cookies.md says what is accepted, sent and kept.
//
// Storage is the whole of it, and an http.CookieJar: New keeps cookies in memory alone, Open and Later in a file
// too. ReadNetscape and WriteNetscape speak cookies.txt.
package cookie

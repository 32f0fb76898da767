// Package credential knows who a user is to which server, and proves it: protection spaces and credentials (RFC 9110 §11),
// kept in memory or in a sealed file, and the schemes Basic (RFC 7617), Digest (RFC 7616), Bearer (RFC 6750), NTLM and
// Negotiate with NTLM's messages (MS-NTHT, MS-NLMP). docs/credentials.md tells users what it does.
//
//	Storage         credentials by protection space; in memory, or sealed in a file that several processes share
//	Authenticator   one a session: what it has learnt of spaces, for requests that are authenticated unasked
//	Exchange        one a request and server: tells from each response what to do next
//
// An Exchange sends nothing itself. Whoever does, drives it: see the example of Exchange.
//
// Passwords, tokens and the values of header fields are Secrets: they do not show when they are printed, nor in JSON.
package credential

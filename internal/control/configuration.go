package control

// Configuration is a background session's in its form on the wire and in the store, which seals it: it holds secrets. All
// in it is resolved: the environment's proxies were read in the app, certificates are bytes and no paths.
//
// What governs single tasks is in each task's Policy; this is what the daemon has to know of the session.
type Configuration struct {
	MaximumConnectionsPerHost int   `json:"maximumConnectionsPerHost,omitempty"` // 0: 6
	RateLimit                 int64 `json:"rateLimit,omitempty"`                 // bytes a second over all tasks; 0: none

	Launch Launch `json:"launch,omitzero"`
	Chain  Chain  `json:"chain"`
}

// Launch is what is run when events wait for a session that nobody listens to as its owner.
type Launch struct {
	Command   []string `json:"command,omitempty"`   // a program and its arguments; no shell. Empty: nothing is run
	Directory string   `json:"directory,omitempty"` // where it runs; absolute
}

// Chain is how requests are sent. A task keeps to the one that was the session's when it was created.
type Chain struct {
	Proxy        Proxy        `json:"proxy,omitzero"`
	TLS          TLS          `json:"tls,omitzero"`
	Cookies      bool         `json:"cookies"`                // there is a storage
	SetCookies   bool         `json:"setCookies"`             // its cookies are sent
	AcceptPolicy CookiePolicy `json:"acceptPolicy,omitempty"` // which of the received ones enter it
	Credentials  bool         `json:"credentials"`            // there is a storage
	Netrc        string       `json:"netrc,omitempty"`        // the text of a .netrc; empty: none is asked
}

// MaxNetrc is the most bytes of Chain.Netrc.
const MaxNetrc = 64 << 10

// CookiePolicy says whose cookies are stored.
type CookiePolicy string

const (
	CookiesFromMainDocument CookiePolicy = ""
	CookiesAlways           CookiePolicy = "always"
	CookiesNever            CookiePolicy = "never"
)

// Proxy is transport.Proxy.
type Proxy struct {
	URL    string `json:"url,omitempty"`
	HTTP   string `json:"http,omitempty"`
	HTTPS  string `json:"https,omitempty"`
	Except string `json:"except,omitempty"`
}

// TLS is transport.TLS with its certificates as bytes.
type TLS struct {
	MinVersion   uint16        `json:"minVersion,omitempty"`
	Roots        []byte        `json:"roots,omitempty"` // PEM; nil: the system's
	Certificates []Certificate `json:"certificates,omitempty"`
	Insecure     bool          `json:"insecure,omitempty"`
	// Pins are the public keys that hosts are bound to: see transport.TLS.
	Pins map[string][]string `json:"pins,omitempty"`
}

// Certificate is a client certificate.
type Certificate struct {
	Chain [][]byte `json:"chain"` // DER, the leaf first
	Key   []byte   `json:"key"`   // PKCS #8, DER
}

package credential

// Challenge asks who the user is: what a session's function, or whoever answers the ticket of a background task, gets.
type Challenge struct {
	// Space is where a credential is wanted, with the realm and the method that the server names.
	Space Space `json:"space"`
	// Proposed is what would be tried without an answer (UseDefault), or what was tried last and refused, but for
	// the userinfo of a URL. Nil: there is none.
	Proposed *Credential `json:"proposed,omitempty"`
	// Failures is how many credentials the server has refused in this space for this request.
	Failures int `json:"failures,omitempty"`
	// Err is why the last try failed; nil on the first. Its text holds no secret.
	Err error `json:"-"`
}

// Disposition is what is done at a Challenge, as NSURLSession.AuthChallengeDisposition.
type Disposition int

const (
	// UseDefault goes on as if nobody had been asked: with the proposed credential if it was not tried yet, else the
	// server's refusal is the response.
	UseDefault Disposition = iota
	// Use tries the answer's Credential.
	Use
	// Cancel ends the task with UserCancelledAuth.
	Cancel
	// Reject leaves this space, and goes on with the next method or realm that the server offers; if it offers none, its
	// refusal is the response.
	Reject
)

// Answer answers a Challenge.
type Answer struct {
	Disposition Disposition
	Credential  Credential // of Use. Unless its Persistence is None it is to be stored once the server has taken it
}

// Action is what is to be done next.
type Action int

const (
	// Deliver gives the response to the task.
	Deliver Action = iota
	// Send sends the request again.
	Send
	// Ask puts the Challenge to whoever decides, and goes on at Exchange.Answer.
	Ask
	// Refresh goes on at Exchange.Refresh, which may take a while: it calls Policy.Refresh.
	Refresh
	// Fail ends the task with Err.
	Fail
)

// Step is what is to be done next. What goes on after Deliver has closed nothing: the response's body is the caller's.
type Step struct {
	Action Action

	// Of Send. The request is the same, with this field set to this value, and its body opened anew. First the body of
	// the response is read to its end, or closed where it is long.
	Field string // Authorization or Proxy-Authorization
	Value Secret // zero: the field is left out
	// NoBody leaves out the request's body (Content-Length: 0): this request will not be answered, only the next.
	NoBody bool
	// HTTP1 wants a connection of HTTP/1.1 that no other request uses until the exchange is over. From then on the server takes
	// whatever comes by it for the user's: see User.
	HTTP1 bool
	// SameConnection wants the very connection that the response came by. Where that is closed, the exchange has failed:
	// go on at Exchange.Lost.
	SameConnection bool

	// User, of Deliver where the server has taken what a SameConnection had, names as whom it knows the connection: requests to
	// that origin whose Exchange.User is the same may use it. 0: no other request may.
	User uint64

	Challenge *Challenge // of Ask and Refresh
	Keep      *Stored    // of Deliver: what is to be stored now, since the server has taken it. Nil: nothing
	Err       error      // of Fail: a *task.Error
}

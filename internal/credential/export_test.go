package credential

// For the tests that talk to servers.
var (
	NTLMChallenge = ntlmChallenge
	NTLMProves    = ntlmProves
)

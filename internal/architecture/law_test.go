package architecture

// module is the path of the module's root package, the public API.
const module = "github.com/urlsession/urlsession"

// rule names the packages of ours that pkg may import. The relation is transitive: pkg may import what those may. What
// does not follow is forbidden, and a package without a rule may not exist.
type rule struct {
	pkg, may string // paths below the module, "." for the root; may is separated by spaces
	because  string
}

// law may name packages that do not exist yet: they find their place here.
var law = []rule{
	{"internal/task", "", "the vocabulary does no I/O, and everything else is said in its words"},
	{"internal/durable", "", "what a system call promises does not depend on what is written"},
	{"internal/store", "internal/task internal/durable", "a store keeps records; it knows nothing of what runs them"},
	{"internal/store/memstore", "internal/store", "a store is replaceable: it knows only the interface"},
	{"internal/store/sqlitestore", "internal/store", "a store is replaceable: it knows only the interface"},
	{"internal/store/storetest", "internal/store", "the conformance suite judges by the interface alone"},
	{"internal/seal", "internal/durable", "what is sealed, and why, is its callers' business: a key knows neither"},
	{"internal/cookie", "internal/task internal/seal", "a jar is asked by a transport, and knows none"},
	{"internal/httpcache", "internal/task internal/durable", "RFC 9111 is a decision about messages, not about tasks that run"},
	{"internal/credential", "internal/task internal/seal", "secrets stay where few packages can reach"},
	{"internal/credential/credentialtest", "", "a server that proves a client right must not have its mistakes"},
	{"internal/partial", "internal/task internal/durable", "a part file's rules hold whatever writes it"},
	{"internal/platform", "internal/task internal/durable", "what the machine says is the same whoever asks"},
	{"internal/control", "internal/task", "the Service is an interface: whoever implements it imports it, never the reverse"},
	{"internal/control/server", "internal/control", "the socket's face is put on a Service, not on an engine"},
	{"internal/transport", "internal/cookie internal/httpcache internal/credential", "a RoundTripper knows requests; files and queues are above it"},
	{"internal/transfer", "internal/partial internal/transport", "how a task runs does not know when it runs"},
	{"internal/engine", "internal/store internal/transfer internal/platform", "the engine knows neither that a socket exists nor which store it has"},
	{".", "internal/engine internal/store/memstore internal/control internal/cookie internal/httpcache internal/credential", "who only wants a download links no database and no daemon"},
	{"daemon", "internal/engine internal/control/server internal/store/sqlitestore", "the daemon runs tasks; it is no user of the public API"},
	{"urlsessiontest", "", "anybody's downloader can be tested with it, ours too without a cycle"},
	{"cmd/urlsession", ". daemon", "the command is a user of the public API"},
	{"bench", ".", "a benchmark measures what users get"},
	{"internal/architecture", "", "it only reads what go list says"},
}

// testHelpers may be imported by any test of ours, beside what its package may import.
var testHelpers = []string{"internal/store/storetest", "internal/credential/credentialtest", "urlsessiontest"}

// testsMay adds to what the tests of one package may import.
var testsMay = []rule{
	{"internal/engine", "internal/store/memstore internal/control", "an engine needs some store to run, and its tests assert that it is a Service"},
	{".", "internal/control/server", "a session in the background is judged at the other end of a socket, over an engine"},
	{"internal/control/server", "internal/engine internal/store/memstore internal/transfer", "one table of behaviours judges an engine, and the same engine through client and server"},
}

// never names what must not be reached by some package, also through others. A path stands for the packages below it
// too, but "." for the root alone.
type never struct {
	pkg, reach string // reach: of ours by its path below the module, else an import path
	direct     bool   // only what pkg's own files import counts
	because    string
}

var nevers = []never{
	{".", "database/sql", false, "who only wants a download links no database"},
	{".", "modernc.org/sqlite", false, "who only wants a download links no database"},
	{".", "github.com/danielgtaylor/huma", false, "the daemon's HTTP framework is the daemon's"},
	{".", "github.com/spf13/cobra", false, "a library does not bring a command line"},
	{".", "github.com/vbauerster/mpb", false, "a library does not draw"},
	{".", "flag", false, "a library does not register flags in its user's program"},
	{"internal/engine", "internal/control", false, "the engine does not know that a socket exists: drift between session kinds must fail in the root, where both meet"},
	{"internal/task", "os", true, "the vocabulary does no I/O"},
	{"internal/control", "github.com/danielgtaylor/huma", false, "the client is linked by the root, and the daemon's HTTP framework is the daemon's"},
	{"cmd/urlsession", "internal", true, "what the command needs, users need: it belongs in the public API"},
	{"bench", "internal", true, "a benchmark measures what users get"},
}

// outside names, for each module that is not ours, who may import it directly. One that is not listed is a decision that has
// not been taken: docs/decisions tells how to take it.
type outside struct {
	path, by string
	because  string
}

var outsiders = []outside{
	{"golang.org/x/sys", "daemon internal/durable internal/partial internal/platform internal/transfer internal/transport cmd/urlsession", "system calls that package syscall lacks, where a promise rests on them"},
	{"golang.org/x/net", ". internal/transfer internal/transport internal/cookie internal/credential internal/httpcache", "proxy rules, public suffixes and header grammar are not ours to write again"},
	{"golang.org/x/text", "internal/transfer internal/transport internal/credential", "names are normalised to NFC: of files where they are made safe, of users where a server asks for it"},
	{"golang.org/x/term", "cmd/urlsession", "only the command has a terminal"},
	{"github.com/dunglas/httpsfv", "internal/transfer internal/transport internal/httpcache", "structured fields (RFC 9651) are parsed where their headers are read"},
	{"github.com/klauspost/compress", "internal/transport", "content codings are the chain's business"},
	{"github.com/andybalholm/brotli", "internal/transport", "content codings are the chain's business"},
	{"github.com/godbus/dbus", "internal/platform", "only the platform asks the machine"},
	{"github.com/spf13/cobra", "cmd/urlsession", "a library does not bring a command line"},
	{"github.com/spf13/pflag", "cmd/urlsession", "cobra's flags"},
	{"github.com/vbauerster/mpb", "cmd/urlsession", "a library does not draw"},
	{"github.com/BurntSushi/toml", "cmd/urlsession", "the configuration file is the command's"},
	{"github.com/danielgtaylor/huma", "internal/control/server", "huma lives there alone"},
	{"modernc.org/sqlite", "internal/store/sqlitestore", "the database is behind the store"},
	{"database/sql", "internal/store/sqlitestore", "the database is behind the store"},
	{"testing", "internal/store/storetest", "raft's mistake: a program that links testing has its flags; the conformance suite is linked by tests alone"},
	{"github.com/coreos/go-systemd", "daemon cmd/urlsession", "socket activation and units are the daemon's"},
	{"github.com/Azure/go-ntlmssp", "internal/credential", "NTLM's messages only"},
	{"github.com/zalando/go-keyring", "internal/seal", "a keyring holds keys, and nothing but seal knows them"},
}

// outsidersOfTests may be imported by any test.
var outsidersOfTests = []string{"testing", "go.uber.org/goleak", "golang.org/x/net", "golang.org/x/sys", "golang.org/x/text", "database/sql"}

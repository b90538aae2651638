package ipc

// SocketVersion names the messages; both ends must be of one build. The same string is
// BDR_SOCKET_VERSION in include/bdr_protocol.h.
const SocketVersion = "0.2.0/6"

// messageBytesMax limits a body; BDR_MESSAGE_BYTES_MAX in C.
const messageBytesMax = 1<<30 + 64*1024

// kind is the first byte of a message. The list is BdrMessageKind in
// include/bdr_protocol.h and the table in docs/protocol.md.
type kind byte

const (
	kindHello    kind = 'h'
	kindWelcome  kind = 'w'
	kindRequest  kind = 'r'
	kindReply    kind = 'y'
	kindNotice   kind = 'n'
	kindFault    kind = 'f'
	kindSQL      kind = 'q'
	kindRows     kind = 'd'
	kindLog      kind = 'g'
	kindLaunch   kind = 'l'
	kindLaunched kind = 'k'
	kindSettings kind = 'u'
	kindSetup    kind = 's'
	kindApply    kind = 'a'
	kindProgress kind = 'p'
	kindFailed   kind = 'x'
	kindConflict kind = 'c'
	kindDecision kind = 'e'
	kindFacts    kind = 'v'
	kindPlan     kind = 'z'
	kindFetch    kind = 't'
	kindFetched  kind = 'i'
	kindAwait    kind = 'A'
	kindAwaited  kind = 'D'
	kindHandoff  kind = 'j'
	kindReclaim  kind = 'm'
	kindReturned kind = 'b'
	kindHeard    kind = 'o'
)

// kindNames are the names in the documents.
var kindNames = map[kind]string{
	kindHello: "HELLO", kindWelcome: "WELCOME", kindRequest: "REQUEST", kindReply: "REPLY",
	kindNotice: "NOTICE", kindFault: "FAULT", kindSQL: "SQL", kindRows: "ROWS", kindLog: "LOG",
	kindLaunch: "LAUNCH", kindLaunched: "LAUNCHED", kindSettings: "SETTINGS", kindSetup: "SETUP",
	kindApply: "APPLY", kindProgress: "PROGRESS", kindFailed: "FAILED", kindConflict: "CONFLICT", kindDecision: "DECISION",
	kindFacts: "FACTS", kindPlan: "PLAN",
	kindFetch: "FETCH", kindFetched: "FETCHED",
	kindAwait: "AWAIT", kindAwaited: "AWAITED",
	kindHandoff: "HANDOFF", kindReclaim: "RECLAIM", kindReturned: "RETURNED", kindHeard: "HEARD",
}

func (k kind) String() string {
	if name, ok := kindNames[k]; ok {
		return name
	}
	return "unknown"
}

// Roles in HELLO.
const (
	roleBackend byte = 'b'
	roleWriter  byte = 'w'
	roleDecider byte = 'd'
)

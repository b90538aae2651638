package lsn

// A Timeline is one of a server's WAL. pg_upgrade makes another server, whose
// timelines are counted anew while positions go on.
type Timeline struct {
	System string // the server's system identifier
	Number int    // 0: not known
}

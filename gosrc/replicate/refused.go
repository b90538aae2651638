package replicate

import (
	"errors"
	"fmt"
	"strings"

	"bdr/gosrc/catalog"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/stream"
)

// invalidations says what is behind each invalidation_reason.
var invalidations = map[string]string{
	"wal_removed":            "It needed more WAL than max_slot_wal_keep_size of that server allows.",
	"rows_removed":           "Rows of the system catalogs that it needed were removed.",
	"wal_level_insufficient": "That server ran with another wal_level than \"logical\".",
	"idle_timeout":           "It was not used for longer than idle_replication_slot_timeout of that server allows.",
}

// explain says what no other try will change in the words of who has to act.
func (c Config) explain(err error) error {
	peer, self := catalog.QuoteLiteral(c.PeerName), catalog.QuoteLiteral(c.LocalName)
	var lost *stream.Lost
	if errors.As(err, &lost) {
		return pgerr.New(pgerr.WrongState, "cannot go on with the changes of node %q: %w", c.PeerName, err).
			WithDetail("%s", strings.TrimSpace(fmt.Sprintf("%s What it kept for node %q is gone.", invalidations[lost.Reason], c.LocalName))).
			WithHint("Part this node and join it again with an empty database. On node %q: SELECT bdr.part_node(%s); SELECT "+
				"bdr.drop_node(%s); then here: SELECT bdr.drop_node(%s).", c.PeerName, self, self, self)
	}
	var back *stream.GoneBack
	if errors.As(err, &back) {
		return pgerr.New(pgerr.WrongState, "cannot go on with the changes of node %q: %w", c.PeerName, err).
			WithDetail("An older copy of that server has taken its place, and lacks changes that this node has.").
			WithHint("Part that node and join it again with an empty database. Here: SELECT bdr.part_node(%s); SELECT "+
				"bdr.drop_node(%s); then on node %q: SELECT bdr.drop_node(%s).", peer, peer, c.PeerName, peer)
	}
	return err
}

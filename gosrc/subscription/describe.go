package subscription

import (
	"fmt"
	"hash/fnv"
	"strings"
	"unicode/utf8"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/replicate"
	"bdr/gosrc/stream"
)

// nameBytesMax is what the server's name type holds.
const nameBytesMax = 63

// subscriptionTo describes the subscription of the local node to another one;
// false: the local node is not in the cluster.
func subscriptionTo(local uint32, c cluster.Cluster, origin catalog.Node) (replicate.Config, bool) {
	self, found := c.Node(local)
	if !found {
		return replicate.Config{}, false
	}
	group, _ := c.Group()
	return replicate.Config{
		PeerName:  origin.Name,
		LocalName: self.Name,
		DSN:       origin.DSN,
		Subscription: catalog.Subscription{
			ID:         subscriptionID(origin.ID, self.ID),
			Name:       subscriptionName(self.DBName, group.Name, origin.Name, self.Name),
			GroupID:    self.GroupID,
			OriginID:   origin.ID,
			SourceID:   origin.ID,
			TargetID:   self.ID,
			Mode:       catalog.ModeNormal,
			Enabled:    true,
			SlotName:   stream.SlotName(origin.DBOID, self.ID),
			OriginName: stream.OriginName(self.DBOID, origin.ID),
		},
	}, true
}

// subscriptionID derives an id from the two nodes, the same at each try.
func subscriptionID(origin, target uint32) uint32 {
	id := uint32(hashOf(fmt.Sprintf("%d/%d", origin, target)) >> 33)
	return max(id, 1)
}

// subscriptionName puts the names of both ends together. One that is too long
// is cut and gets a hash of the whole, so that it stays unique.
func subscriptionName(database, group, origin, target string) string {
	name := strings.Join([]string{"bdr", database, group, origin, target}, "_")
	if len(name) <= nameBytesMax {
		return name
	}
	suffix := fmt.Sprintf("_%08x", uint32(hashOf(name)))
	cut := nameBytesMax - len(suffix)
	for cut > 0 && !utf8.RuneStart(name[cut]) {
		cut--
	}
	return name[:cut] + suffix
}

func hashOf(text string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(text)) // a hash takes everything
	return h.Sum64()
}

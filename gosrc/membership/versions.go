package membership

import (
	"context"
	"strconv"
	"sync"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/ipc"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/release"
	"bdr/gosrc/wire"
)

const (
	versionsTimeMax = 3 * time.Second // for a node to say what it has
	versionsPeriod  = 5 * time.Minute // so that something is known of a node that goes away
)

// nodeVersions is what a node had when it was asked last.
type nodeVersions struct {
	release.Build
	postgres string
	sets     []string
	seen     time.Time
}

// versions are those of the nodes that have been asked.
type versions struct {
	mu    sync.Mutex
	known map[string]nodeVersions // by the node's UUID
}

func (v *versions) note(uuid string, n nodeVersions) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.known == nil {
		v.known = map[string]nodeVersions{}
	}
	v.known[uuid] = n
}

func (v *versions) of(uuid string) nodeVersions {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.known[uuid]
}

// ours is what this library can do; the version of the SQL objects is not its own.
func (s *Service) ours() release.Build {
	return release.Build{Version: release.Version, Frames: release.Range{Min: wire.VersionMin, Max: wire.VersionMax},
		Managers: release.Range{Min: wireVersionMin, Max: wireVersionMax}}
}

// introduction is the part of a hello that says what this node has.
func (s *Service) introduction(ctx context.Context) (helloReply, error) {
	results, err := s.deps.Host.Run(ctx, catalog.SelectVersions())
	if err != nil {
		return helloReply{}, err
	}
	postgres, extension, err := catalog.VersionsOf(results[0])
	if err != nil {
		return helloReply{}, err
	}
	sets, err := catalog.ReadLocalSets(ctx, s.deps.Host)
	ours := s.ours()
	return helloReply{WireVersion: ours.Managers.Min, WireVersionMax: ours.Managers.Max, Version: ours.Version, Extension: extension,
		Postgres: postgres, FramesMin: ours.Frames.Min, FramesMax: ours.Frames.Max, Sets: sets}, err
}

// keepVersions asks now and then.
func (s *Service) keepVersions() {
	for s.ctx.Err() == nil {
		changed := s.Changed()
		nodes := s.presentNodes()
		if len(nodes) > 0 {
			s.askVersions(s.ctx, nodes)
			changed = nil // elections are not of interest
		}
		select {
		case <-changed:
		case <-time.After(versionsPeriod):
		case <-s.ctx.Done():
		}
	}
}

// presentNodes are those that are not parted, this one among them.
func (s *Service) presentNodes() []catalog.Node {
	var nodes []catalog.Node
	for _, n := range s.Cluster().Nodes {
		if n.State != cluster.Parted {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// askVersions asks all at the same time, and says who answered.
func (s *Service) askVersions(ctx context.Context, nodes []catalog.Node) (answered []bool) {
	ctx, cancel := context.WithTimeout(ctx, versionsTimeMax)
	defer cancel()
	answered = make([]bool, len(nodes))
	var wait sync.WaitGroup
	for i, n := range nodes {
		wait.Add(1)
		s.deps.Spawn("versions of a node", func() {
			defer wait.Done()
			answered[i] = s.askVersion(ctx, n) == nil
		})
	}
	wait.Wait()
	return answered
}

func (s *Service) askVersion(ctx context.Context, n catalog.Node) error {
	reply, err := s.introduce(ctx, n)
	if err != nil {
		return err
	}
	now := nodeVersions{Build: reply.build(), postgres: reply.Postgres, sets: reply.Sets, seen: time.Now()}
	if reply.Version == "" { // 0.1.0 does not say more
		facts, err := s.remoteFacts(ctx, n.DSN)
		if err != nil {
			return err
		}
		now.postgres, now.Extension = facts.Version, facts.Extension
	}
	s.versions.note(n.UUID, now)
	return nil
}

func (s *Service) introduce(ctx context.Context, n catalog.Node) (helloReply, error) {
	if n.ID == s.localID() {
		return s.introduction(ctx)
	}
	reply, err := s.greet(ctx, n.DSN)
	if err == nil && reply.NodeUUID != n.UUID {
		err = pgerr.New(pgerr.InvalidParameter, "%q reaches another node", pgerr.MaskDSN(n.DSN))
	}
	return reply, err
}

// GroupVersions is bdr.internal_group_versions(). Of a node that does not answer
// it shows what was known before.
func (s *Service) GroupVersions(ctx context.Context, _ *ipc.Request) (ipc.Rows, error) {
	const columns = 8
	nodes := s.presentNodes()
	answered := s.askVersions(ctx, nodes)
	rows := ipc.Rows{Columns: columns}
	for i, n := range nodes {
		known := s.versions.of(n.UUID)
		rows.Values = append(rows.Values, []*string{ipc.Number(uint64(n.ID)), ipc.NonEmpty(known.postgres), ipc.NonEmpty(known.Version),
			ipc.NonEmpty(known.Extension), ipc.Positive(uint64(known.Frames.Min)), ipc.Positive(uint64(known.Frames.Max)),
			ipc.Text(strconv.FormatBool(answered[i])), ipc.Moment(known.seen)})
	}
	return rows, ctx.Err()
}

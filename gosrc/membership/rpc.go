package membership

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/consensus"
	"bdr/gosrc/control"
	"bdr/gosrc/ipc"
	"bdr/gosrc/lsn"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/release"
	"bdr/gosrc/stream"
)

// Messages between managers, beside those of consensus. Each may come twice.
const (
	kindHello        = consensus.KindOther + iota // who are you, and what does your cluster look like
	kindRegister                                  // propose that I join, or that I give up
	kindReach                                     // can you reach this joiner
	kindPosition                                  // the durable end of your WAL
	kindEndOfStream                               // write into your stream that it ends here
	kindCatchUpPoint                              // write a join's catch-up point when you have all of this
	kindApplied                                   // have you applied a node's changes up to here
	kindForget                                    // drop what you keep for a node that is being parted
	kindParted                                    // you have been parted
	kindFate                                      // what is a node to you
	kindBarrier                                   // from where on is your WAL newer than a time
	kindStopSequence                              // let nobody use a sequence, whose kind is about to change
)

// The versions of the messages of this file and of the commands that this node
// knows. A message may get more fields in a version: who does not know them passes
// over them.
const (
	wireVersionMin = 1
	wireVersionMax = 1
)

// rpcTimeout bounds one question to a peer.
const rpcTimeout = 10 * time.Second

// helloReply says who a node is and what it can do. 0.1.0 sends the first five;
// what a node does not know, it passes over.
type helloReply struct {
	WireVersion int // the lowest
	NodeID      uint32
	NodeUUID    string
	Leader      uint32
	Cluster     cluster.Cluster

	WireVersionMax       int
	Version, Extension   string
	Postgres             string
	FramesMin, FramesMax int
	Sets                 []string // replication sets that the node has chosen
}

// build completes what 0.1.0 leaves out.
func (h helloReply) build() release.Build {
	b := release.Build{Version: h.Version, Extension: h.Extension, Frames: release.Range{Min: h.FramesMin, Max: h.FramesMax},
		Managers: release.Range{Min: h.WireVersion, Max: max(h.WireVersion, h.WireVersionMax)}}
	if b.Version == "" {
		b.Version, b.Extension = release.First, release.First
		b.Frames = release.Range{Min: release.FirstFrames, Max: release.FirstFrames}
	}
	return b
}

type reachRequest struct {
	DSN, NodeUUID string
}

type barrierRequest struct {
	Joiner uint32
	After  int64 // microseconds since 2000
}

type catchUpRequest struct {
	Joiner   uint32
	Nonce    string
	After    int64             // what follows the catch-up point must be newer
	Barriers map[uint32]uint64 // per peer: what must have been applied
}

type catchUpReply struct {
	Done       bool
	WaitingFor string // name of a node
}

type appliedRequest struct {
	Origin uint32
	Target uint64
}

type fateReply struct {
	Known  bool
	State  cluster.State
	Leader bool // the one who answers leads: "not known" can be believed
}

// RPC answers a message of a peer's manager, in whose session the runner is. An error
// in the envelope is the call's error; any other travels in the reply.
func (s *Service) RPC(ctx context.Context, session catalog.Runner, message []byte) ([]byte, error) {
	e, err := consensus.DecodeEnvelope(message)
	if err != nil {
		return nil, err
	}
	if e.Kind != kindHello {
		cluster, self := s.identity()
		if err := e.Check(cluster, self); err != nil {
			return consensus.EncodeReply(nil, err), nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, consensus.ProposeTimeout)
	defer cancel()
	reply, err := s.answer(ctx, session, e)
	return consensus.EncodeReply(reply, err), nil
}

func (s *Service) answer(ctx context.Context, session catalog.Runner, e consensus.Envelope) ([]byte, error) {
	if e.Kind < consensus.KindOther {
		return s.answerConsensus(ctx, e)
	}
	switch e.Kind {
	case kindHello:
		return s.answerHello(ctx)
	case kindRegister:
		return s.answerRegister(ctx, e.From, e.Body)
	case kindReach:
		return s.answerReach(ctx, e.Body)
	case kindPosition:
		return s.answerPosition(ctx)
	case kindEndOfStream:
		return s.answerEndOfStream(ctx)
	case kindCatchUpPoint:
		return s.answerCatchUpPoint(ctx, e.Body)
	case kindApplied:
		return s.answerApplied(ctx, e.Body)
	case kindForget:
		return s.answerForget(ctx, e.Body)
	case kindParted:
		return nil, s.answerParted(ctx)
	case kindFate:
		return s.answerFate(e.Body)
	case kindBarrier:
		return s.answerBarrier(ctx, e.Body)
	case kindStopSequence:
		return s.deps.StopSequence(ctx, session, e.Body)
	}
	return nil, pgerr.New(pgerr.ProtocolViolation, "unknown kind %d of a manager's message", e.Kind)
}

// answerConsensus keeps parted nodes out: they do not know yet.
func (s *Service) answerConsensus(ctx context.Context, e consensus.Envelope) ([]byte, error) {
	if n, known := s.Cluster().Node(e.From); known && n.State == cluster.Parted {
		return nil, pgerr.New(pgerr.WrongState, "node %q has been parted", n.Name)
	}
	group, err := s.consensus()
	if err != nil {
		return nil, err
	}
	return group.Deliver(ctx, e)
}

func (s *Service) answerHello(ctx context.Context) ([]byte, error) {
	local, err := s.record(ctx)
	if err != nil {
		return nil, err
	}
	reply, err := s.introduction(ctx)
	if err != nil {
		return nil, err
	}
	reply.NodeID, reply.NodeUUID, reply.Cluster = local.ID, local.UUID, s.Cluster()
	if group, err := s.consensus(); err == nil {
		reply.Leader = group.Leader()
	}
	return consensus.Pack(reply), nil
}

// answerRegister proposes for a node that has no part in consensus yet: that
// it joins, or that it has given up.
func (s *Service) answerRegister(ctx context.Context, from uint32, body []byte) ([]byte, error) {
	var cmd cluster.Command
	err := json.Unmarshal(body, &cmd)
	joins := cmd.Kind == cluster.RegisterNode && cmd.Node.ID == from
	leaves := cmd.Kind == cluster.ChangeState && cmd.To == cluster.PartStart && cmd.NodeID == from
	if err != nil || !joins && !leaves {
		return nil, pgerr.New(pgerr.ProtocolViolation, "malformed registration of a node")
	}
	if joins {
		if cmd.Rotate, err = s.mayRotate(ctx, cmd.Node); err != nil {
			return nil, err
		}
	}
	answer, err := s.propose(ctx, cmd)
	return []byte(answer), err
}

func (s *Service) answerReach(ctx context.Context, body []byte) ([]byte, error) {
	var request reachRequest
	if err := consensus.Unpack(body, &request); err != nil {
		return nil, err
	}
	hello, err := s.hello(ctx, request.DSN)
	if err != nil {
		return nil, err
	}
	if hello.NodeUUID != request.NodeUUID {
		return nil, pgerr.New(pgerr.InvalidParameter, "%q reaches another node", pgerr.MaskDSN(request.DSN))
	}
	conn, err := s.connect(ctx, request.DSN, stream.Replication)
	if err != nil {
		return nil, err
	}
	stream.HangUp(conn)
	return nil, nil
}

// answerPosition returns the end of WAL and makes it durable, so that it will
// be sent: a position that is not flushed would be waited for in vain.
func (s *Service) answerPosition(ctx context.Context) ([]byte, error) {
	results, err := s.deps.Host.Run(ctx, catalog.SelectInsertPosition(), catalog.AssignTransaction())
	if err != nil {
		return nil, err
	}
	at, err := catalog.Position(results[0])
	if err != nil {
		return nil, err
	}
	return consensus.Pack(uint64(at)), nil
}

// answerBarrier names a durable position behind which all commits are newer than
// a time, if the clock has passed that. From before then on the joiner counts
// here, so that nothing that it may still write below is forgotten.
func (s *Service) answerBarrier(ctx context.Context, body []byte) ([]byte, error) {
	var request barrierRequest
	if err := consensus.Unpack(body, &request); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	err := s.waitUntil(ctx, func(c cluster.Cluster) bool {
		n, known := c.Node(request.Joiner)
		return known && n.State >= cluster.Catchup
	})
	if err != nil {
		return nil, err
	}
	barrier, err := s.barrier(ctx, request.After)
	return consensus.Pack(barrier), err
}

// barrier looks for such a position on this node.
func (s *Service) barrier(ctx context.Context, after int64) (catalog.Barrier, error) {
	results, err := s.deps.Host.Run(ctx, catalog.SelectBarrier(after), catalog.AssignTransaction())
	if err != nil {
		return catalog.Barrier{}, err
	}
	return catalog.BarrierOf(results[0])
}

// answerEndOfStream marks the point at which all peers stop applying what this
// node writes. It is only said to a node that is being parted.
func (s *Service) answerEndOfStream(ctx context.Context) ([]byte, error) {
	err := s.waitUntil(ctx, func(cluster.Cluster) bool { self, member := s.self(); return member && cluster.IsParting(self.State) })
	if err != nil {
		return nil, err
	}
	content, err := control.EndOfStream{Node: s.localID()}.Encode()
	if err != nil {
		return nil, err
	}
	_, err = s.deps.Host.Run(ctx, catalog.EmitMessage(content), catalog.AssignTransaction())
	if err != nil {
		return nil, err
	}
	return s.answerPosition(ctx)
}

// answerCatchUpPoint writes a join's catch-up point once everything before the barriers has
// been applied here, and nothing old of our own can follow. The origins' progress is read before it is written: what
// is applied in between comes before the catch-up point, and is counted by the joiner.
func (s *Service) answerCatchUpPoint(ctx context.Context, body []byte) ([]byte, error) {
	var request catchUpRequest
	if err := consensus.Unpack(body, &request); err != nil {
		return nil, err
	}
	agreed := s.Cluster()
	for id, barrier := range request.Barriers {
		if s.deps.Subscriptions.Applied(id) < lsn.LSN(barrier) {
			n, _ := agreed.Node(id)
			s.hurry(id, lsn.LSN(barrier))
			return consensus.Pack(catchUpReply{WaitingFor: n.Name}), nil
		}
	}
	barrier, err := s.barrier(ctx, request.After)
	if err != nil {
		return nil, err
	}
	if barrier.Position == 0 {
		self, _ := s.self()
		return consensus.Pack(catchUpReply{WaitingFor: self.Name}), nil
	}
	results, err := s.deps.Host.Run(ctx, catalog.SelectOriginPositions(s.deps.DatabaseOID))
	if err != nil {
		return nil, err
	}
	content, err := s.catchUpPoint(request, results[0])
	if err != nil {
		return nil, err
	}
	if _, err := s.deps.Host.Run(ctx, catalog.EmitMessage(content), catalog.AssignTransaction()); err != nil {
		return nil, err
	}
	return consensus.Pack(catchUpReply{Done: true}), nil
}

// hurry has an idle peer tell its position now instead of now and then.
func (s *Service) hurry(origin uint32, target lsn.LSN) {
	s.deps.Spawn("wait for barrier", func() {
		ctx, cancel := context.WithTimeout(s.ctx, time.Second)
		defer cancel()
		_ = s.deps.Subscriptions.WaitApplied(ctx, origin, target) // asked again by the joiner
	})
}

// catchUpPoint is what a join waits for in the stream.
func (s *Service) catchUpPoint(request catchUpRequest, origins ipc.Result) (string, error) {
	positions, err := catalog.OriginPositions(origins)
	if err != nil {
		return "", err
	}
	point := control.CatchUpPoint{Joiner: request.Joiner, ID: request.Nonce, Progress: map[uint32]lsn.LSN{}}
	for _, n := range s.Cluster().Nodes {
		if at, found := positions[stream.OriginName(s.deps.DatabaseOID, n.ID)]; found {
			point.Progress[n.ID] = at
		}
	}
	return point.Encode()
}

func (s *Service) answerApplied(ctx context.Context, body []byte) ([]byte, error) {
	var request appliedRequest
	if err := consensus.Unpack(body, &request); err != nil {
		return nil, err
	}
	done, err := s.hasApplied(ctx, request.Origin, lsn.LSN(request.Target))
	return consensus.Pack(done), err
}

// hasApplied says whether a node's changes up to a position are here. Nothing
// more will come of a subscription that has ended with the node's end-of-stream message; one
// that was never active has nothing for us. One that is paused lacks changes.
func (s *Service) hasApplied(ctx context.Context, origin uint32, target lsn.LSN) (bool, error) {
	if s.deps.Subscriptions.Applied(origin) >= target {
		return true, nil
	}
	row, found, err := s.subscription(ctx, origin)
	if err != nil || !found || row.Mode == catalog.ModeEnded {
		return err == nil, err
	}
	s.hurry(origin, target)
	return false, nil
}

// subscription finds this node's subscription to another one.
func (s *Service) subscription(ctx context.Context, origin uint32) (row catalog.Subscription, found bool, err error) {
	results, err := s.deps.Host.Run(ctx, catalog.SelectSubscriptions())
	if err != nil {
		return row, false, err
	}
	rows, err := catalog.Subscriptions(results[0])
	at := slices.IndexFunc(rows, func(row catalog.Subscription) bool { return row.OriginID == origin })
	if err != nil || at < 0 {
		return row, false, err
	}
	return rows[at], true, nil
}

// answerForget drops what is kept for a node on its way out. The own log may
// lag behind the leader who asks.
func (s *Service) answerForget(ctx context.Context, body []byte) ([]byte, error) {
	var node uint32
	if err := consensus.Unpack(body, &node); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	err := s.waitUntil(ctx, func(c cluster.Cluster) bool {
		n, known := c.Node(node)
		return known && (n.State == cluster.Parting || n.State == cluster.PartCatchup || n.State == cluster.Parted)
	})
	if err != nil {
		return nil, err
	}
	return nil, s.forgetPeer(ctx, node)
}

// answerParted is how a node hears of its own end, when the log no longer
// reaches it.
func (s *Service) answerParted(ctx context.Context) error {
	self, member := s.self()
	if !member {
		return nil
	}
	if !cluster.IsParting(self.State) && self.State != cluster.Parted {
		s.log("LOG", "a peer says that node %q has been parted", self.Name)
	}
	return s.believeParted(ctx)
}

func (s *Service) answerFate(body []byte) ([]byte, error) {
	var node uint32
	if err := consensus.Unpack(body, &node); err != nil {
		return nil, err
	}
	n, known := s.Cluster().Node(node)
	group, err := s.consensus()
	return consensus.Pack(fateReply{Known: known, State: n.State, Leader: err == nil && group.IsLeader()}), nil
}

// ask sends one message to a node and decodes its reply.
func (s *Service) ask(ctx context.Context, node uint32, kind consensus.MessageKind, request, reply any) error {
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	var body []byte
	if request != nil {
		body = consensus.Pack(request)
	}
	answer, err := s.links.Call(ctx, node, kind, body)
	if err != nil {
		return err
	}
	if reply == nil {
		return nil
	}
	return consensus.Unpack(answer, reply)
}

// position asks for the durable end of a node's WAL.
func (s *Service) position(ctx context.Context, node uint32) (lsn.LSN, error) {
	var at uint64
	err := s.ask(ctx, node, kindPosition, nil, &at)
	return lsn.LSN(at), err
}

// hello asks whatever node a DSN reaches who it is. One that no message of ours
// would make sense to is an error.
func (s *Service) hello(ctx context.Context, dsn string) (helloReply, error) {
	reply, err := s.greet(ctx, dsn)
	if err != nil {
		return reply, err
	}
	ours, theirs := s.ours().Managers, reply.build().Managers
	if _, ok := ours.Common(theirs); !ok {
		return reply, pgerr.New(pgerr.FeatureNotSupported, "the node at %q speaks another version of the managers' protocol", pgerr.MaskDSN(dsn)).
			WithDetail("It speaks %s, this node speaks %s.", theirs, ours).
			WithHint("Install the same version of bdr on every node.")
	}
	return reply, nil
}

// greet is hello to a node of any version.
func (s *Service) greet(ctx context.Context, dsn string) (helloReply, error) {
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	group, self := s.identity()
	body, err := s.links.Send(ctx, dsn, consensus.Envelope{Cluster: group, From: self, Kind: kindHello})
	if err != nil {
		return helloReply{}, err
	}
	var reply helloReply
	err = consensus.Unpack(body, &reply)
	return reply, err
}

// tell sends a message to the node that a hello found, member or not.
func (s *Service) tell(ctx context.Context, dsn string, to helloReply, kind consensus.MessageKind, body []byte) ([]byte, error) {
	group, _ := to.Cluster.Group()
	id, err := consensus.ParseUUID(group.UUID)
	if err != nil {
		return nil, fmt.Errorf("cluster of the join target: %w", err)
	}
	return s.links.Send(ctx, dsn, consensus.Envelope{Cluster: id, From: s.localID(), To: to.NodeID, Kind: kind, Body: body})
}

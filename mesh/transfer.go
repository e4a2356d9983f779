package mesh

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sonde-net/sonde/mesh/wire"
	"github.com/sonde-net/sonde/result"
)

// A Fetch is a file to be had from peers.
type Fetch struct {
	Name  string   // of the file, at the peers
	Peers []string // names or IDs of nodes that serve it; all give at once
	Into  string   // folder; empty means the present one
	As    string   // name there; empty means that of the peers
	Max   uint64   // bytes of the largest file that is taken; 0 is no limit
}

// A Transfer is what became of a file.
type Transfer struct {
	Stage     Stage         `json:"stage"` // in the end: the one that it did not get beyond, or "ended"
	Name      string        `json:"name"`
	File      string        `json:"file"`   // where it is; empty if it is not here, or nothing was kept
	Object    string        `json:"sha256"` // empty if it is not known
	Size      uint64        `json:"bytes"`
	BlockSize int           `json:"block_bytes"`
	Moved     uint64        `json:"bytes_moved"`   // in this transfer, each byte once
	Resumed   uint64        `json:"bytes_resumed"` // were here from an earlier one
	Elapsed   time.Duration `json:"elapsed_ns"`    // since the offer
	Blocks    uint64        `json:"blocks_sent"`   // asked of us, or asked for by us, repetitions counted
	Again     uint64        `json:"blocks_again"`
	Twice     uint64        `json:"blocks_twice"` // came though they were here already
	Sources   []Source      `json:"sources"`
}

// A Source is one end of a transfer that gives, or the one that we give to.
type Source struct {
	Peer    string         `json:"peer"` // name, or ID
	Path    string         `json:"path"` // as in PeerStatus; of the end of the transfer
	Bytes   uint64         `json:"bytes"`
	RTT     *time.Duration `json:"rtt_ns"`     // smoothed, under load; nil if not measured
	Least   *time.Duration `json:"rtt_min_ns"` // of the last seconds
	Window  int            `json:"window_blocks"`
	Dropped string         `json:"dropped"` // why it gave no more; empty if it did
}

// Get fetches a file from peers while the node runs, until ctx ends. How it
// stands is told once a second, unless told is nil. A file that was given up is taken up
// again by the next Get of the same content into the same folder.
func (n *Node) Get(ctx context.Context, g Fetch, told func(Transfer)) (Transfer, error) {
	b, err := n.bulkEngine()
	if err != nil {
		return Transfer{}, err
	}
	if g.As != "" {
		if err := checkLabel(g.As); err != nil {
			return Transfer{}, &result.Error{Word: result.CodeUsage, Text: "mesh: get " + g.Name, Hint: "choose another name for the file", Err: err}
		}
	}
	if len(g.Peers) == 0 || len(g.Peers) > maxSources {
		return Transfer{}, &result.Error{Word: result.CodeUsage, Text: fmt.Sprintf("mesh: get %s: %d peers, 1 to %d can be asked", g.Name, len(g.Peers), maxSources)}
	}
	if len(g.Name) > 255 {
		return Transfer{}, &result.Error{Word: result.CodeUsage, Text: fmt.Sprintf("mesh: get: the name has %d bytes, at most 255 can be asked for", len(g.Name))}
	}
	ctx, stop := b.joined(ctx)
	defer stop()
	f := newFetch(b, told)
	f.folder, f.name, f.want, f.max = cmp.Or(g.Into, "."), g.As, g.Name, g.Max
	for _, name := range g.Peers {
		s := newSource(wire.ID{}, name, random(), time.Now())
		s.state = unfound
		f.sources = append(f.sources, s)
	}
	err = f.run(ctx)
	return f.transfer(time.Now()), err
}

// Put sends a file to a peer that takes files while the node runs, until ctx
// ends. How it stands is told once a second, unless told is nil.
func (n *Node) Put(ctx context.Context, file, peer string, told func(Transfer)) (Transfer, error) {
	b, err := n.bulkEngine()
	if err != nil {
		return Transfer{}, err
	}
	local := func(err error) error {
		return &result.Error{Word: result.CodeLocal, Text: "mesh: put", Hint: "name a regular file that you may read", Err: err}
	}
	// A pipe or a device is not even opened: that may wait, or do things.
	if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
		if err == nil {
			err = fmt.Errorf("%s is not a regular file", file)
		}
		return Transfer{}, local(err)
	}
	f, err := os.Open(file)
	if err != nil {
		return Transfer{}, local(err)
	}
	defer f.Close()
	ctx, stop := b.joined(ctx)
	defer stop()
	g := newGive(b, exchange{request: random()}, true, told)
	g.label, g.offer.Name = peer, filepath.Base(file)
	if len(g.offer.Name) > 255 {
		return Transfer{}, local(fmt.Errorf("the name %q is too long to be sent", g.offer.Name))
	}
	tell := func(now time.Time) { g.tick(now, g.transfer) }
	if g.peer, err = b.find(ctx, peer, tell); err != nil {
		return g.transfer(time.Now()), err
	}
	g.stage = Reading
	o, err := identify(ctx, f, tell)
	if err != nil {
		return g.transfer(time.Now()), local(err)
	}
	g.set(f, o, g.offer.Name)
	if !b.addGive(g) {
		return g.transfer(time.Now()), &result.Error{Word: result.CodeLocal, Text: "mesh: put: too many transfers at once", Hint: "wait for others to end"}
	}
	err = g.run(ctx)
	return g.transfer(time.Now()), err
}

// bulkEngine is nil, with an error, unless the node runs.
func (n *Node) bulkEngine() (*bulk, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.bulk == nil {
		return nil, &result.Error{Word: result.CodeLocal, Text: "mesh: the node does not run"}
	}
	return n.bulk, nil
}

// findFor is how long a peer may take to be reached, listFor how long to be
// listed by a server that answers.
const (
	findFor = 20 * time.Second
	listFor = 5 * time.Second
)

// find waits for a peer that is called so, and for a path to it.
func (b *bulk) find(ctx context.Context, name string, tell func(time.Time)) (wire.ID, error) {
	timer := time.NewTicker(50 * time.Millisecond)
	defer timer.Stop()
	for start := time.Now(); ; {
		id, final, why := b.lookFor(name, time.Since(start))
		if why == nil || final {
			return id, why
		}
		tell(time.Now())
		select {
		case <-ctx.Done():
			return wire.ID{}, context.Cause(ctx)
		case <-timer.C:
		}
	}
}

// lookFor looks for a peer that was looked for since a while; final says that
// there is no use in looking on.
func (b *bulk) lookFor(name string, since time.Duration) (id wire.ID, final bool, why error) {
	id, listed, why := b.reachable(name)
	word := result.CodeOf(why)
	return id, since > findFor || word == result.CodeUsage || word == result.CodeUnsupported || !listed && since > listFor && b.hasList(), why
}

// reachable finds a peer by its name or ID, and says what is in the way.
func (b *bulk) reachable(name string) (id wire.ID, listed bool, err error) {
	var others []string
	var found []*peer
	b.node.with(func(a *agent) {
		for _, p := range a.sorted() {
			switch {
			case p.self:
			case p.name == name || p.hasID && strings.EqualFold(p.id.String(), name):
				found = append(found, p)
			default:
				others = append(others, p.label())
			}
		}
		err = b.hindrance(name, found, others)
		if err == nil {
			id = found[0].key.id
		}
	})
	return id, len(found) > 0, err
}

// hasList reports whether a server has told who is there.
func (b *bulk) hasList() (has bool) {
	b.node.with(func(a *agent) {
		has = slices.ContainsFunc(a.servers, func(s *home) bool { return s.up && s.hasList })
	})
	return has
}

// hindrance is why files cannot be moved to or from the peers found.
func (b *bulk) hindrance(name string, found []*peer, others []string) error {
	fail := func(word, text, hint string) error {
		return &result.Error{Word: word, Text: fmt.Sprintf("mesh: %s: %s", name, text), Hint: hint}
	}
	switch {
	case len(found) == 0 && len(others) == 0:
		return fail(result.CodeUnreachable, "no such node, and no other is listed", "check that the server answers and that the other node uses it too")
	case len(found) == 0:
		return fail(result.CodeUnreachable, "no such node", fmt.Sprintf("listed: %q", others))
	case len(found) > 1:
		return fail(result.CodeUsage, fmt.Sprintf("%d nodes have this name", len(found)), fmt.Sprintf("give the ID of one: %v, %v", found[0].id, found[1].id))
	}
	switch p := found[0]; {
	case !p.sonde || p.key.id == wire.ID{}:
		return fail(result.CodeUnsupported, "an original client, which knows no bulk transfer", "run sonde there")
	case p.use != nil:
		return nil
	case p.via == nil:
		return fail(result.CodeUnreachable, "no path: "+ReasonText(p.reason), hintFor(p.reason))
	case !b.node.BulkRelayed:
		return fail(result.CodeUnreachable, "reached by way of the server only, which carries no files unless told", "allow it here with --relayed and there with --files-relayed; it is slow")
	}
	return nil
}

// label is what a person calls the peer.
func (p *peer) label() string {
	if p.name != "" {
		return p.name
	}
	return p.id.String()
}

// failed puts an error of a transfer into words.
func failed(what string, err error) error {
	var known *result.Error
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, errExists):
		return &result.Error{Word: result.CodeLocal, Text: what, Hint: "choose another name or folder, or move the file away", Err: err}
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return &result.Error{Word: result.CodeLocal, Text: what, Hint: "check that the folder is there, may be written to and has room", Err: err}
	}
	return &result.Error{Word: result.CodeProtocol, Text: what, Err: err}
}

// cancelled is the error for a Cancel of the other end.
func cancelled(what string, c wire.Cancel) error {
	why := c.Text
	if why == "" || strings.ContainsFunc(why, isHidden) {
		why = cancelWords[c.Reason]
	}
	word, hint := result.CodeRefused, ""
	switch c.Reason {
	case wire.CancelNotFound:
		hint = "ask the other side for the name; it is that of a file directly in the folder that it serves"
	case wire.CancelBusy:
		hint = "try again later"
	case wire.CancelClosed, wire.CancelLocal, wire.CancelExpired:
		word = result.CodePeerLost
	}
	return &result.Error{Word: word, Text: fmt.Sprintf("%s: the other side says: %s", what, why), Hint: hint}
}

var cancelWords = map[wire.CancelReason]string{
	wire.CancelClosed: "it has ended the transfer", wire.CancelNotFound: "no such file",
	wire.CancelRefused: "refused", wire.CancelBusy: "busy",
	wire.CancelLocal: "it cannot go on", wire.CancelExpired: "it knows no such transfer",
}

func hexOf(h wire.Hash) string {
	if h == (wire.Hash{}) {
		return ""
	}
	return hex.EncodeToString(h[:])
}

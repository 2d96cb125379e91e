package nodenet

import (
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"go4.org/netipx"
	"golang.org/x/sys/unix"
)

const (
	tableName = "isthmus"
	// markBit is set in the marks of packets that the node's own processes send over
	// a host link, and of their connections. We do not use the other bits.
	markBit = 0x1000
	// maxName is the size of an interface name in the kernel, in bytes, with its final
	// zero.
	maxName = unix.IFNAMSIZ
)

// Names of the sets.
const (
	setLinks  = "hostlinks"
	setPaths  = "paths"
	setProbed = "probed"
)

// ruleset is our whole nftables table.
type ruleset struct {
	sets   []set
	chains []chain
}

type set struct {
	name     string
	key      nftables.SetDatatype
	interval bool
	elements []nftables.SetElement
}

type chain struct {
	name  string
	kind  nftables.ChainType
	hook  *nftables.ChainHook
	prio  nftables.ChainPriority
	rules []rule
}

// rule has the expressions that match and act, and the reason in words, which "nft
// list" shows as the rule's comment.
type rule struct {
	why   string
	exprs []expr.Any
}

// rulesetOf returns the firewall for a plan.
func rulesetOf(p plan) ruleset {
	return ruleset{
		sets: []set{
			{name: setLinks, key: nftables.TypeIFName, elements: nameElements(p.links)},
			{name: setPaths, key: nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeIPAddr), elements: pathElements(p.paths)},
			{name: setProbed, key: nftables.TypeIPAddr, elements: addrElements(p.paths)},
			v4.set("sources", p.sources), v4.set("inside", p.inside),
			v6.set("sources", p.sources), v6.set("inside", p.inside),
		},
		chains: []chain{prerouting(), input(), forward(), output(), source(), leave()},
	}
}

// prerouting drops packets on a host link whose source is not the pod's address,
// before connection tracking sees them.
func prerouting() chain {
	return chain{"prerouting", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, *nftables.ChainPriorityRaw, []rule{
		{"a pod on its own host link", match(v4.is(), load(expr.MetaKeyIIFNAME), v4.addr(saddr, 2), in(setPaths), accept)},
		{"anything else on a host link", match(load(expr.MetaKeyIIFNAME), in(setLinks), drop)},
	}}
}

// input accepts from host links only answers to the node's own connections.
func input() chain {
	return chain{"input", nftables.ChainTypeFilter, nftables.ChainHookInput, *nftables.ChainPriorityFilter, []rule{
		{"answers to the node's own connections", match(load(expr.MetaKeyIIFNAME), in(setLinks), direction(reply),
			ctMarked(), ctState(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), accept)},
		{"pods open nothing over a host link", match(load(expr.MetaKeyIIFNAME), in(setLinks), drop)},
	}}
}

func forward() chain {
	return chain{"forward", nftables.ChainTypeFilter, nftables.ChainHookForward, *nftables.ChainPriorityFilter, []rule{
		{"nothing is forwarded from a host link", match(load(expr.MetaKeyIIFNAME), in(setLinks), drop)},
		{"nothing is forwarded to a host link", match(load(expr.MetaKeyOIFNAME), in(setLinks), drop)},
	}}
}

// output marks the connections that the node's own processes open to a probed pod. In
// a chain of type route, the kernel routes marked packets again. The chain comes after
// destination NAT (-100), so that it sees the backends of a Service. It checks the
// mark of the connection to exclude ICMP errors that the node sends about forwarded
// packets, because these are local output in direction original, too.
func output() chain {
	return chain{"output", nftables.ChainTypeRoute, nftables.ChainHookOutput, -90, []rule{
		{"a connection of the node's own to a probed pod", match(direction(original), ctState(expr.CtStateBitNEW),
			v4.is(), v4.addr(daddr, 1), in(setProbed), setCtMark())},
		{"goes over the host link", match(direction(original), ctMarked(), v4.is(), v4.addr(daddr, 1), in(setProbed), setMark())},
	}}
}

// source gives packets a source address that their answers can return to. It comes just
// before source NAT of others (100), because the first translation counts.
func source() chain {
	onNode := match(load(expr.MetaKeyOIFNAME), name(expr.CmpOpEq, NodeLink),
		[]expr.Any{&expr.Fib{Register: 1, FlagSADDR: true, ResultADDRTYPE: true}, compare(expr.CmpOpEq, native(unix.RTN_LOCAL))})
	return chain{"source", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, *nftables.ChainPriorityNATSource - 1, []rule{
		{"probes come from the link's own address", match(v4.is(), load(expr.MetaKeyOIFNAME), v4.addr(daddr, 2), in(setPaths), ctMarked(), snat(LinkAddr))},
		{"the node's own come from its join address", match(onNode, masquerade(false))},
		v4.masquerade(), v6.masquerade(),
	}}
}

// leave drops packets of a connection whose host link is gone, because packets with a
// link-local source must not leave their link (RFC 3927, section 2.7).
func leave() chain {
	return chain{"leave", nftables.ChainTypeFilter, nftables.ChainHookPostrouting, 300, []rule{
		{"a host link's address stays on host links", match(v4.is(), v4.addr(saddr, 1), []expr.Any{compare(expr.CmpOpEq, LinkAddr.AsSlice())},
			load(expr.MetaKeyOIFNAME), name(expr.CmpOpNeq, "lo"), notIn(setLinks), drop)},
	}}
}

// family has the constants that differ between IPv4 and IPv6.
type family struct {
	suffix  string
	number  byte
	key     nftables.SetDatatype
	offsets [2]uint32 // of source and destination in the header
	length  uint32
}

var (
	v4 = family{"4", unix.NFPROTO_IPV4, nftables.TypeIPAddr, [2]uint32{12, 16}, 4}
	v6 = family{"6", unix.NFPROTO_IPV6, nftables.TypeIP6Addr, [2]uint32{8, 24}, 16}
)

const (
	saddr = 0
	daddr = 1
)

func (f family) is() []expr.Any {
	return match(load(expr.MetaKeyNFPROTO), []expr.Any{compare(expr.CmpOpEq, []byte{f.number})})
}

func (f family) addr(which int, register uint32) []expr.Any {
	return []expr.Any{&expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: f.offsets[which], Len: f.length}}
}

func (f family) masquerade() rule {
	return rule{"pods leave under the node's address", match(f.is(), f.addr(saddr, 1), in("sources"+f.suffix),
		f.addr(daddr, 1), notIn("inside"+f.suffix), load(expr.MetaKeyOIFNAME), name(expr.CmpOpNeq, NodeLink), masquerade(true))}
}

func (f family) set(name string, ranges []netipx.IPRange) set {
	s := set{name: name + f.suffix, key: f.key, interval: true}
	for _, r := range ranges {
		if r.From().BitLen() != int(f.length)*8 {
			continue
		}
		s.elements = append(s.elements, nftables.SetElement{Key: r.From().AsSlice()})
		// A range up to the last address has no end, because no address follows it.
		if end := r.To().Next(); end.IsValid() {
			s.elements = append(s.elements, nftables.SetElement{Key: end.AsSlice(), IntervalEnd: true})
		}
	}
	return s
}

func nameElements(names []string) []nftables.SetElement {
	var all []nftables.SetElement
	for _, n := range names {
		all = append(all, nftables.SetElement{Key: padded(n)})
	}
	return all
}

func pathElements(paths []path) []nftables.SetElement {
	var all []nftables.SetElement
	for _, p := range paths {
		all = append(all, nftables.SetElement{Key: append(padded(p.link), p.addr.AsSlice()...)})
	}
	return all
}

func addrElements(paths []path) []nftables.SetElement {
	var all []nftables.SetElement
	for _, p := range paths {
		all = append(all, nftables.SetElement{Key: p.addr.AsSlice()})
	}
	return all
}

func padded(name string) []byte {
	b := make([]byte, maxName)
	copy(b, name)
	return b
}

// The parts of rules.
var (
	accept = []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}
	drop   = []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}
)

const (
	original = 0
	reply    = 1
)

func match(parts ...[]expr.Any) []expr.Any { return slices.Concat(parts...) }

func native(v uint32) []byte { return binaryutil.NativeEndian.PutUint32(v) }

func load(key expr.MetaKey) []expr.Any {
	return []expr.Any{&expr.Meta{Key: key, Register: 1}}
}

func compare(op expr.CmpOp, data []byte) expr.Any {
	return &expr.Cmp{Op: op, Register: 1, Data: data}
}

func name(op expr.CmpOp, link string) []expr.Any { return []expr.Any{compare(op, padded(link))} }

func in(set string) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: 1, SetName: set}}
}

func notIn(set string) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: 1, SetName: set, Invert: true}}
}

func direction(d byte) []expr.Any {
	return []expr.Any{&expr.Ct{Register: 1, Key: expr.CtKeyDIRECTION}, compare(expr.CmpOpEq, []byte{d})}
}

func bits(mask, xor uint32) expr.Any {
	return &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: native(mask), Xor: native(xor)}
}

func ctState(states uint32) []expr.Any {
	return []expr.Any{&expr.Ct{Register: 1, Key: expr.CtKeySTATE}, bits(states, 0), compare(expr.CmpOpNeq, native(0))}
}

func ctMarked() []expr.Any {
	return []expr.Any{&expr.Ct{Register: 1, Key: expr.CtKeyMARK}, bits(markBit, 0), compare(expr.CmpOpEq, native(markBit))}
}

func setCtMark() []expr.Any {
	return []expr.Any{
		&expr.Ct{Register: 1, Key: expr.CtKeyMARK}, bits(^uint32(markBit), markBit),
		&expr.Ct{Register: 1, Key: expr.CtKeyMARK, SourceRegister: true},
	}
}

func setMark() []expr.Any {
	return []expr.Any{
		&expr.Meta{Register: 1, Key: expr.MetaKeyMARK}, bits(^uint32(markBit), markBit),
		&expr.Meta{Register: 1, Key: expr.MetaKeyMARK, SourceRegister: true},
	}
}

func snat(to netip.Addr) []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: 1, Data: to.AsSlice()},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1},
	}
}

func masquerade(random bool) []expr.Any { return []expr.Any{&expr.Masq{FullyRandom: random}} }

// comment returns the rule's comment: its reason and a checksum of its expressions. The
// comment alone then shows whether a rule in the kernel is this one or is of another
// version.
func (c chain) comment(r rule) string {
	h := fnv.New32a()
	fmt.Fprint(h, c.kind, *c.hook, c.prio)
	for _, e := range r.exprs {
		fmt.Fprintf(h, "%T%+v", e, e)
	}
	return fmt.Sprintf("%s [%08x]", r.why, h.Sum32())
}

// shape returns the ruleset in the form that readShape returns for a table in the
// kernel. Two tables with the same shape have the same effect.
func (r ruleset) shape() []string {
	var lines []string
	for _, s := range r.sets {
		lines = append(lines, shapeOfSet(s.name, s.elements))
	}
	for _, c := range r.chains {
		var comments []string
		for _, r := range c.rules {
			comments = append(comments, c.comment(r))
		}
		lines = append(lines, shapeOfChain(c.name, comments))
	}
	slices.Sort(lines)
	return lines
}

func shapeOfSet(name string, elements []nftables.SetElement) string {
	var keys []string
	for _, e := range elements {
		keys = append(keys, fmt.Sprint(hex.EncodeToString(e.Key), e.IntervalEnd))
	}
	slices.Sort(keys)
	return "set " + name + ": " + strings.Join(keys, " ")
}

func shapeOfChain(name string, comments []string) string {
	return "chain " + name + ": " + strings.Join(comments, "; ")
}

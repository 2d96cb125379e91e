package netdev

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ovn-kubernetes/libovsdb/model"

	"github.com/isthmus-cni/isthmus/internal/ovn/vswitch"
	"github.com/isthmus-cni/isthmus/internal/ovsdb"
	"github.com/isthmus-cni/isthmus/internal/retry"
	"github.com/isthmus-cni/isthmus/internal/signal"
)

// SwitchOptions say where the node's switch database is.
type SwitchOptions struct {
	// Endpoint is the database's address: "unix:/run/openvswitch/db.sock".
	Endpoint string
	// Log may be nil.
	Log *slog.Logger
	// Changed, which may be nil, is called when the connection, or a row that the
	// agent reads, may have changed. It must not block.
	Changed func()
}

// Switch is the node's own Open vSwitch, seen through its database. Its methods may be
// called from any goroutine. While the database is not connected, methods that change
// something return ErrNotConnected, and methods that read return nothing.
type Switch struct {
	o SwitchOptions

	session atomic.Pointer[ovsdb.Session] // nil while not connected
	changed signal.Broadcast              // a row or the connection
}

// NewSwitch returns a Switch that is not connected yet: Run connects it.
func NewSwitch(o SwitchOptions) *Switch {
	if o.Changed == nil {
		o.Changed = func() {}
	}
	return &Switch{o: o}
}

const (
	// connectTimeout bounds one attempt to connect and to read the tables.
	connectTimeout = 5 * time.Second
	// The pauses between two attempts. Operators and package upgrades restart Open
	// vSwitch, and an attempt each second costs little.
	shortestPause = 20 * time.Millisecond
	longestPause  = time.Second
)

// Run keeps the Switch connected until ctx ends. It returns nil.
func (s *Switch) Run(ctx context.Context) error {
	k := ovsdb.Keeper{
		Options: ovsdb.Options{
			Database: "the node's Open vSwitch database", Endpoints: []string{s.o.Endpoint}, Log: s.o.Log,
			Model: vswitch.Model, Columns: vswitch.Columns(), Timeout: connectTimeout,
			Backoff: retry.Backoff{First: shortestPause, Longest: longestPause},
		},
		Open: func(_ context.Context, session *ovsdb.Session) error {
			if err := session.OnChange(func(_, _ model.Model) { s.notify() }); err != nil {
				return err
			}
			s.use(session)
			return nil
		},
		Lost: func() { s.use(nil) },
	}
	first, err := k.Dial(ctx)
	if err == nil {
		k.Stay(ctx, first)
	}
	return nil
}

func (s *Switch) use(session *ovsdb.Session) {
	s.session.Store(session)
	s.notify()
}

// notify wakes all calls of until.
func (s *Switch) notify() {
	s.changed.Set()
	s.o.Changed()
}

// rows returns the rows of a table in the replica; none while the database is not
// connected. The caller must not change them.
func rows[T any](session *ovsdb.Session, table string) []*T {
	if session == nil {
		return nil
	}
	var all []*T
	for _, m := range session.Table(table).RowsShallow() {
		if r, ok := m.(any).(*T); ok {
			all = append(all, r)
		}
	}
	return all
}

// interfaceNamed returns the interface of that name; nil if there is none.
func interfaceNamed(session *ovsdb.Session, name string) *vswitch.Interface {
	if session == nil {
		return nil
	}
	_, m, err := session.Table(vswitch.InterfaceTable).RowByModel(&vswitch.Interface{Name: name})
	if r, ok := m.(*vswitch.Interface); ok && err == nil {
		return r
	}
	return nil
}

// until returns nil when holds returns true, or ctx's error when ctx ends.
func (s *Switch) until(ctx context.Context, holds func(*ovsdb.Session) bool) error {
	for {
		changed := s.changed.Next()
		if holds(s.session.Load()) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Ready waits for the first connection. It returns ctx's error if ctx ends first.
func (s *Switch) Ready(ctx context.Context) error {
	return s.until(ctx, func(session *ovsdb.Session) bool { return session != nil })
}

// Connected returns whether the database is connected.
func (s *Switch) Connected() bool {
	return s.session.Load() != nil
}

// Bridge returns whether the bridge has the userspace datapath. ok is false if there
// is no bridge of that name.
func (s *Switch) Bridge(name string) (userspace, ok bool) {
	session := s.session.Load()
	for _, b := range rows[vswitch.Bridge](session, vswitch.BridgeTable) {
		if b.Name == name {
			return b.DatapathType == "netdev", true
		}
	}
	return false, false
}

// root returns the external_ids of the one row of table Open_vSwitch.
func root(session *ovsdb.Session) map[string]string {
	for _, r := range rows[vswitch.OpenVSwitch](session, vswitch.OpenVSwitchTable) {
		return r.ExternalIDs
	}
	return nil
}

// TunnelAddrs returns the node's own tunnel addresses, as ovn-controller uses them.
func (s *Switch) TunnelAddrs() []netip.Addr {
	session := s.session.Load()
	var all []netip.Addr
	for text := range strings.SplitSeq(root(session)["ovn-encap-ip"], ",") {
		if a, err := netip.ParseAddr(strings.TrimSpace(text)); err == nil {
			all = append(all, a)
		}
	}
	return all
}

// Port is the name and the external_ids of an interface in the switch database.
type Port struct {
	Name string
	IDs  map[string]string
}

// Ports returns the interfaces whose external_ids have key with that value.
func (s *Switch) Ports(key, value string) []Port {
	session := s.session.Load()
	var all []Port
	for _, i := range rows[vswitch.Interface](session, vswitch.InterfaceTable) {
		if v, ok := i.ExternalIDs[key]; ok && v == value {
			all = append(all, Port{Name: i.Name, IDs: i.ExternalIDs})
		}
	}
	return all
}

// Installed waits until OVN has installed the port of that name on this node. If ctx
// ends first, the error says what is missing.
func (s *Switch) Installed(ctx context.Context, name string) error {
	err := s.until(ctx, func(session *ovsdb.Session) bool {
		i := interfaceNamed(session, name)
		return i != nil && i.ExternalIDs["ovn-installed"] == "true"
	})
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", s.missing(name), err)
}

// missing returns why a port does not work yet, as far as this node can see.
func (s *Switch) missing(name string) string {
	session := s.session.Load()
	i := interfaceNamed(session, name)
	switch {
	case session == nil:
		return "the node's Open vSwitch database does not answer at " + s.o.Endpoint
	case i == nil:
		return fmt.Sprintf("somebody removed interface %s from the node's switch", name)
	case i.Error != nil && *i.Error != "":
		return fmt.Sprintf("ovs-vswitchd cannot use interface %s: %s", name, *i.Error)
	case i.OFPort == nil:
		return fmt.Sprintf("ovs-vswitchd has not taken interface %s: is it running?", name)
	}
	return fmt.Sprintf("ovn-controller has not installed port %s (version %q): is it running on this node and connected to %q, "+
		"and has the northbound database that Logical_Switch_Port?", i.ExternalIDs["iface-id"], i.ExternalIDs["iface-id-ver"], root(session)["ovn-remote"])
}

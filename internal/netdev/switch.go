package netdev

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/ovn-kubernetes/libovsdb/cache"
	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/model"

	"github.com/isthmus-cni/isthmus/internal/ovn/vswitch"
)

// SwitchOptions say where the node's switch database is.
type SwitchOptions struct {
	// Endpoint is "unix:/run/openvswitch/db.sock".
	Endpoint string
	Log      *slog.Logger
	// Changed is called after something that the agent cares for may have
	// changed. It must not block. nil for nobody.
	Changed func()
}

// Switch is the node's own Open vSwitch, by its database. Methods may be
// called from any goroutine; those that change something fail while the
// database is away.
type Switch struct {
	o SwitchOptions

	mu   sync.Mutex
	live client.Client // nil while disconnected
	seen view
	turn chan struct{} // closed and replaced whenever seen or live changes
}

// view is what the database holds, as far as we look.
type view struct {
	bridges    map[string]vswitch.Bridge
	interfaces map[string]vswitch.Interface // by UUID
	byName     map[string]string            // interface name → UUID
	root       map[string]string            // external_ids of the one root row
}

func newView() view {
	return view{
		bridges:    map[string]vswitch.Bridge{},
		interfaces: map[string]vswitch.Interface{},
		byName:     map[string]string{},
	}
}

// NewSwitch connects nowhere yet: Run does.
func NewSwitch(o SwitchOptions) *Switch {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Changed == nil {
		o.Changed = func() {}
	}
	return &Switch{o: o, seen: newView(), turn: make(chan struct{})}
}

// Bounds of the wait between two attempts to connect. OVS is restarted by
// people and packages; a second is soon enough and costs nothing.
const (
	firstWait  = 20 * time.Millisecond
	longestGap = time.Second
	dialTime   = 5 * time.Second
)

// Run keeps the connection until ctx ends.
func (s *Switch) Run(ctx context.Context) error {
	gap, told := firstWait, false
	for ctx.Err() == nil {
		began, err := s.session(ctx)
		if ctx.Err() != nil {
			break
		}
		if began {
			gap, told = firstWait, false
		}
		if !told {
			s.o.Log.Warn("no connection to the node's Open vSwitch, trying again", "endpoint", s.o.Endpoint, "err", err)
			told = true
		}
		timer := time.NewTimer(gap)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
		gap = min(2*gap, longestGap)
	}
	return nil
}

// session is one connection, from its start to its end. The client's own
// reconnection is not used: it cannot be stopped.
func (s *Switch) session(ctx context.Context) (began bool, err error) {
	c, err := s.newClient()
	if err != nil {
		return false, err
	}
	lost, watching := make(chan struct{}), make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(lost)
		close(watching)
		select {
		case <-c.DisconnectNotify():
		case <-stop:
		}
	}()
	// Close makes the client notify us, but not if it never connected.
	defer func() { close(stop); <-lost }()
	<-watching
	if err := s.begin(ctx, c); err != nil {
		c.Close()
		return false, err
	}
	s.o.Log.Info("connected to the node's Open vSwitch", "endpoint", s.o.Endpoint)
	s.set(func() { s.live = c })
	defer s.set(func() { s.live, s.seen = nil, newView() })
	select {
	case <-lost:
		return true, errors.New("connection lost")
	case <-ctx.Done():
		c.Close()
		<-lost
		return true, ctx.Err()
	}
}

func (s *Switch) newClient() (client.Client, error) {
	m, err := vswitch.Model()
	if err != nil {
		return nil, err
	}
	quiet := logr.Discard()
	return client.NewOVSDBClient(m, client.WithEndpoint(s.o.Endpoint), client.WithLogger(&quiet))
}

// begin connects and reads what there is; later changes come as events.
func (s *Switch) begin(ctx context.Context, c client.Client) error {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	if err := c.Connect(ctx); err != nil {
		return err
	}
	s.set(func() { s.seen = newView() })
	c.Cache().AddEventHandler(&cache.EventHandlerFuncs{
		AddFunc:    func(_ string, row model.Model) { s.set(func() { s.seen.put(row) }) },
		UpdateFunc: func(_ string, _, row model.Model) { s.set(func() { s.seen.put(row) }) },
		DeleteFunc: func(_ string, row model.Model) { s.set(func() { s.seen.drop(row) }) },
	})
	root, bridge, iface := &vswitch.OpenVSwitch{}, &vswitch.Bridge{}, &vswitch.Interface{}
	_, err := c.Monitor(ctx, c.NewMonitor(
		client.WithTable(root, &root.ExternalIDs),
		client.WithTable(bridge, &bridge.Name, &bridge.DatapathType),
		client.WithTable(iface, &iface.Name, &iface.ExternalIDs, &iface.OFPort, &iface.Error),
	))
	return err
}

// set changes what is seen and wakes all who wait for something.
func (s *Switch) set(change func()) {
	s.mu.Lock()
	change()
	close(s.turn)
	s.turn = make(chan struct{})
	s.mu.Unlock()
	s.o.Changed()
}

func (v *view) put(row model.Model) {
	switch r := row.(type) {
	case *vswitch.OpenVSwitch:
		v.root = r.ExternalIDs
	case *vswitch.Bridge:
		v.bridges[r.Name] = *r
	case *vswitch.Interface:
		v.interfaces[r.UUID] = *r
		v.byName[r.Name] = r.UUID
	}
}

func (v *view) drop(row model.Model) {
	switch r := row.(type) {
	case *vswitch.Bridge:
		delete(v.bridges, r.Name)
	case *vswitch.Interface:
		delete(v.interfaces, r.UUID)
		// A row of that name may have been made in the same transaction.
		if v.byName[r.Name] == r.UUID {
			delete(v.byName, r.Name)
		}
	}
}

func (v *view) named(name string) (vswitch.Interface, bool) {
	row, ok := v.interfaces[v.byName[name]]
	return row, ok
}

// until waits for true to hold of what is seen; the error is ctx's.
func (s *Switch) until(ctx context.Context, holds func() bool) error {
	for {
		s.mu.Lock()
		ok, turn := holds(), s.turn
		s.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-turn:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Ready waits for the first connection.
func (s *Switch) Ready(ctx context.Context) error {
	return s.until(ctx, func() bool { return s.live != nil })
}

// Connected tells whether the database answers.
func (s *Switch) Connected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live != nil
}

// Bridge tells whether there is a bridge of that name, and whether its
// datapath is in user space.
func (s *Switch) Bridge(name string) (userspace, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.seen.bridges[name]
	return b.DatapathType == "netdev", ok
}

// TunnelAddrs are the node's own tunnel addresses, as ovn-controller uses them.
func (s *Switch) TunnelAddrs() []netip.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []netip.Addr
	for text := range strings.SplitSeq(s.seen.root["ovn-encap-ip"], ",") {
		if a, err := netip.ParseAddr(strings.TrimSpace(text)); err == nil {
			all = append(all, a)
		}
	}
	return all
}

// Port is an interface in the switch database: its name and external_ids.
type Port struct {
	Name string
	IDs  map[string]string
}

// Ports are those whose external_ids hold key with that value.
func (s *Switch) Ports(key, value string) []Port {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Port
	for _, i := range s.seen.interfaces {
		if v, ok := i.ExternalIDs[key]; ok && v == value {
			all = append(all, Port{Name: i.Name, IDs: i.ExternalIDs})
		}
	}
	return all
}

// Installed waits until OVN has made the port of that name work on this node.
// If ctx ends first, the error says what is missing.
func (s *Switch) Installed(ctx context.Context, name string) error {
	err := s.until(ctx, func() bool {
		i, ok := s.seen.named(name)
		return ok && i.ExternalIDs["ovn-installed"] == "true"
	})
	if err == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Errorf("%s: %w", s.missing(name), err)
}

// missing says what keeps a port from working, as far as this node can see.
func (s *Switch) missing(name string) string {
	i, ok := s.seen.named(name)
	switch {
	case s.live == nil:
		return "the node's Open vSwitch database does not answer at " + s.o.Endpoint
	case !ok:
		return fmt.Sprintf("somebody removed interface %s from the node's switch", name)
	case i.Error != nil && *i.Error != "":
		return fmt.Sprintf("ovs-vswitchd cannot use interface %s: %s", name, *i.Error)
	case i.OFPort == nil:
		return fmt.Sprintf("ovs-vswitchd has not taken interface %s: is it running?", name)
	}
	return fmt.Sprintf("ovn-controller has not installed port %s (version %q): is it running on this node and connected to %q, "+
		"and has the northbound database that Logical_Switch_Port?", i.ExternalIDs["iface-id"], i.ExternalIDs["iface-id-ver"], s.seen.root["ovn-remote"])
}

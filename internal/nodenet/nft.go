package nodenet

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/userdata"
)

// firewall makes our table as the plan wants it, in one transaction of the kernel. It
// writes nothing if the table is already so.
func (n *Network) firewall(p plan) error {
	c, err := n.nftables()
	if err != nil {
		return err
	}
	defer func() { _ = c.CloseLasting() }() // it was only read, or its errors were seen
	want := rulesetOf(p)
	have, err := readShape(c)
	if err != nil {
		return err
	}
	if slices.Equal(have, want.shape()) {
		return nil
	}
	if err := replaceTable(c, want); err != nil {
		return fmt.Errorf("replace nftables table inet %s: %w", tableName, err)
	}
	n.o.Log.Info("firewall replaced", "table", tableName, "links", len(p.links), "paths", len(p.paths))
	return nil
}

func (n *Network) dropFirewall() error {
	c, err := n.nftables()
	if err != nil {
		return err
	}
	defer func() { _ = c.CloseLasting() }() // it was only read, or its errors were seen
	t, err := findTable(c)
	if err != nil || t == nil {
		return err
	}
	c.DelTable(t)
	if err := c.Flush(); err != nil {
		return fmt.Errorf("remove nftables table inet %s: %w", tableName, err)
	}
	return nil
}

// firewallLinks returns the host links that our table in the kernel names.
func (n *Network) firewallLinks() ([]string, error) {
	c, err := n.nftables()
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.CloseLasting() }() // it was only read, or its errors were seen
	t, err := findTable(c)
	if err != nil || t == nil {
		return nil, err
	}
	s, err := c.GetSetByName(t, setLinks)
	if err != nil {
		return nil, fmt.Errorf("read nftables set %s: %w", setLinks, err)
	}
	elements, err := c.GetSetElements(s)
	if err != nil {
		return nil, fmt.Errorf("read nftables set %s: %w", setLinks, err)
	}
	var names []string
	for _, e := range elements {
		names = append(names, strings.TrimRight(string(e.Key), "\x00"))
	}
	return names, nil
}

func (n *Network) nftables() (*nftables.Conn, error) {
	options := []nftables.ConnOption{nftables.AsLasting()}
	if n.o.NetNS != nil {
		options = append(options, nftables.WithNetNSFd(int(*n.o.NetNS)))
	}
	c, err := nftables.New(options...)
	if err != nil {
		return nil, fmt.Errorf("open the kernel's nftables socket: %w", err)
	}
	return c, nil
}

func findTable(c *nftables.Conn) (*nftables.Table, error) {
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, fmt.Errorf("list nftables tables: %w", err)
	}
	for _, t := range tables {
		if t.Name == tableName {
			return t, nil
		}
	}
	return nil, nil
}

// readShape returns the shape of our table in the kernel; nil if there is none.
func readShape(c *nftables.Conn) ([]string, error) {
	t, err := findTable(c)
	if err != nil || t == nil {
		return nil, err
	}
	sets, err := readSets(c, t)
	if err != nil {
		return nil, fmt.Errorf("read nftables sets of inet %s: %w", tableName, err)
	}
	chains, err := readChains(c, t)
	if err != nil {
		return nil, fmt.Errorf("read nftables chains of inet %s: %w", tableName, err)
	}
	lines := slices.Concat(sets, chains)
	slices.Sort(lines)
	return lines, nil
}

func readSets(c *nftables.Conn, t *nftables.Table) ([]string, error) {
	sets, err := c.GetSets(t)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, s := range sets {
		elements, err := c.GetSetElements(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
		lines = append(lines, shapeOfSet(s.Name, elements))
	}
	return lines, nil
}

func readChains(c *nftables.Conn, t *nftables.Table) ([]string, error) {
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, ch := range chains {
		if ch.Table.Name != t.Name {
			continue
		}
		rules, err := c.GetRules(t, ch)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", ch.Name, err)
		}
		var comments []string
		for _, r := range rules {
			text, _ := userdata.GetString(r.UserData, userdata.TypeComment)
			comments = append(comments, text)
		}
		lines = append(lines, shapeOfChain(ch.Name, comments))
	}
	return lines, nil
}

// replaceTable replaces the table in one transaction, so that each packet meets either
// the old table or the new one.
func replaceTable(c *nftables.Conn, want ruleset) error {
	t := &nftables.Table{Family: nftables.TableFamilyINet, Name: tableName}
	c.AddTable(t) // deleting a missing table would fail
	c.DelTable(t)
	c.AddTable(t)
	for _, s := range want.sets {
		if err := addSet(c, t, s); err != nil {
			return fmt.Errorf("set %s: %w", s.name, err)
		}
	}
	for _, ch := range want.chains {
		added := c.AddChain(&nftables.Chain{Name: ch.name, Table: t, Type: ch.kind, Hooknum: ch.hook, Priority: &ch.prio})
		for _, r := range ch.rules {
			c.AddRule(&nftables.Rule{
				Table: t, Chain: added, Exprs: r.exprs,
				UserData: userdata.AppendString(nil, userdata.TypeComment, ch.comment(r)),
			})
		}
	}
	return c.Flush()
}

func addSet(c *nftables.Conn, t *nftables.Table, s set) error {
	return c.AddSet(&nftables.Set{
		Table: t, Name: s.name, KeyType: s.key, Interval: s.interval,
		Concatenation: s.name == setPaths, KeyByteOrder: byteOrder(s),
	}, s.elements)
}

// byteOrder returns the byte order in which "nft list" reads the set's keys. Interface
// names are in the machine's own order.
func byteOrder(s set) binaryutil.ByteOrder {
	if s.key.Name == nftables.TypeIFName.Name {
		return binaryutil.NativeEndian
	}
	return nil
}

package supervise

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Order returns components sorted so that each follows all its needs. Otherwise it
// keeps their order. It errs on duplicate names, unknown needs and cycles.
func Order(components []Component) ([]Component, error) {
	byName := map[string]Component{}
	for _, c := range components {
		if _, twice := byName[c.Name]; twice || c.Name == "" {
			return nil, fmt.Errorf("component %q: the name is empty or used twice", c.Name)
		}
		byName[c.Name] = c
	}
	o := ordering{byName: byName, state: map[string]int{}}
	for _, c := range components {
		if err := o.visit(c.Name, nil); err != nil {
			return nil, err
		}
	}
	return o.sorted, nil
}

type ordering struct {
	byName map[string]Component
	state  map[string]int // 1: its needs are being visited, 2: done
	sorted []Component
}

func (o *ordering) visit(name string, path []string) error {
	path = append(path, name)
	switch o.state[name] {
	case 1:
		return fmt.Errorf("components need each other in a circle: %s", strings.Join(path, " → "))
	case 2:
		return nil
	}
	c, ok := o.byName[name]
	if !ok {
		return fmt.Errorf("component %q is needed by %q and does not exist", name, path[max(0, len(path)-2)])
	}
	o.state[name] = 1
	for _, need := range c.Needs {
		if err := o.visit(need, path); err != nil {
			return err
		}
	}
	o.state[name] = 2
	o.sorted = append(o.sorted, c)
	return nil
}

// spec returns a checksum of Argv and Env.
func (c Component) spec() string {
	sum := sha256.New()
	for _, list := range [][]string{c.Argv, c.Env} {
		for _, word := range list {
			fmt.Fprintf(sum, "%d:%s", len(word), word)
		}
		fmt.Fprint(sum, "|")
	}
	return hex.EncodeToString(sum.Sum(nil))[:16]
}

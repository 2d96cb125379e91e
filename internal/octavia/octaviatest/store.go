package octaviatest

import (
	"fmt"
	"slices"
	"strings"
)

// resource is a resource as JSON.
type resource = map[string]any

// store has all resources by collection: "loadbalancers", "listeners", "pools",
// "members", "ports", "floatingips".
type store struct {
	things map[string][]resource
	next   int // the number in the next id
}

// byID returns a resource, nil if there is none.
func (s *store) byID(collection string, id any) resource {
	i := slices.IndexFunc(s.things[collection], func(o resource) bool { return o["id"] == id })
	if i < 0 {
		return nil
	}
	return s.things[collection][i]
}

// put adds a resource and gives it an id.
func (s *store) put(collection string, o resource) resource {
	s.next++
	o["id"] = fmt.Sprintf("%s-%d", strings.TrimSuffix(collection, "s"), s.next)
	o["created_at"] = now().UTC().Format("2006-01-02T15:04:05")
	s.things[collection] = append(s.things[collection], o)
	return o
}

func (s *store) drop(collection string, o resource) {
	s.things[collection] = slices.DeleteFunc(s.things[collection], func(x resource) bool { return x["id"] == o["id"] })
}

// nameOf returns the address of a port, empty if there is none.
func (s *store) nameOf(collection string, id any) any {
	if o := s.byID(collection, id); o != nil {
		return o["address"]
	}
	return ""
}

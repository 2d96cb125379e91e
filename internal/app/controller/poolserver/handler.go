package poolserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/isthmus-cni/isthmus/internal/poolwire"
	"github.com/isthmus-cni/isthmus/internal/portpool"
)

// Pools are the pools of ready ports.
type Pools interface {
	Pools() []portpool.Status
	PoolPorts(k portpool.Key) []portpool.PortStatus
	Fill(ctx context.Context, k portpool.Key, n int) (int, error)
	Free(ctx context.Context, meant func(portpool.Key) bool) (int, error)
}

// Handler lists, fills and frees pools for an operator.
type Handler struct {
	Pools Pools
	// SubnetOf returns the name of the Subnet whose pods a pool serves. GroupName
	// returns the name of a security group.
	SubnetOf  func(ctx context.Context, k portpool.Key) (string, error)
	GroupName func(id string) string
	// StandardPool returns the pool of pods that have no annotations of ours and
	// that no NetworkPolicy selects.
	StandardPool func(ctx context.Context, node, subnet string) (portpool.Key, error)
	// Batch is how many ports fill creates if the query gives no number.
	Batch int
}

// maxFill is the largest number of ports that one fill may ask for.
const maxFill = 1000

// Mux routes the verbs of internal/poolwire. find returns the Handler that answers
// a request, or an error if this controller has no pools now.
func Mux(find func() (Handler, error)) *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, answer := range map[string]func(Handler, context.Context, url.Values) (any, error){
		"GET /" + poolwire.List: Handler.list, "POST /" + poolwire.Fill: Handler.fill, "POST /" + poolwire.Free: Handler.free,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			h, err := find()
			if err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
			body, err := answer(h, r.Context(), r.URL.Query())
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(body) // It fails only if the caller has closed the connection.
		})
	}
	return mux
}

// selected returns the pools that a query selects, and their keys.
func (h Handler) selected(ctx context.Context, q url.Values) ([]poolwire.Pool, []portpool.Key, error) {
	var pools []poolwire.Pool
	var keys []portpool.Key
	for _, p := range h.Pools.Pools() {
		subnet, err := h.SubnetOf(ctx, p.Key)
		if err != nil {
			return nil, nil, err
		}
		node, wanted := q.Get(poolwire.ArgNode), q.Get(poolwire.ArgSubnet)
		if node != "" && node != p.Node || wanted != "" && wanted != subnet && wanted != p.Network {
			continue
		}
		pools, keys = append(pools, h.describe(p, subnet)), append(keys, p.Key)
	}
	return pools, keys, nil
}

// describe returns a pool with names instead of ids.
func (h Handler) describe(p portpool.Status, subnet string) poolwire.Pool {
	out := poolwire.Pool{
		Node: p.Node, Subnet: subnet, Project: p.Project, Network: p.Network,
		Ready: p.Ready, Returning: p.Returning, Making: p.Making,
	}
	for id := range strings.SplitSeq(p.Groups, ",") {
		out.Groups = append(out.Groups, h.GroupName(id))
	}
	slices.Sort(out.Groups)
	return out
}

func (h Handler) list(ctx context.Context, q url.Values) (any, error) {
	pools, keys, err := h.selected(ctx, q)
	for i := range pools {
		if !q.Has(poolwire.ArgPorts) {
			break
		}
		for _, p := range h.Pools.PoolPorts(keys[i]) {
			pools[i].Ports = append(pools[i].Ports, poolwire.Port{ID: p.ID, Addrs: p.Addrs, State: p.State})
		}
	}
	return orEmpty(pools), err
}

func orEmpty[T any](all []T) []T { return append([]T{}, all...) }

func (h Handler) fill(ctx context.Context, q url.Values) (any, error) {
	n, err := h.count(q)
	if err != nil {
		return nil, err
	}
	pools, keys, err := h.selected(ctx, q)
	if len(pools) == 0 && err == nil {
		pools, keys, err = h.newPool(ctx, q)
	}
	if err != nil {
		return nil, err
	}
	made := make([]poolwire.Made, len(pools))
	for i, k := range keys {
		made[i].Pool = pools[i]
		if made[i].Made, err = h.Pools.Fill(ctx, k, n); err != nil {
			made[i].Problem = err.Error()
		}
	}
	return made, nil
}

func (h Handler) count(q url.Values) (int, error) {
	if q.Get(poolwire.ArgNode) == "" {
		return 0, errors.New("fill the pools of which node?")
	}
	if !q.Has(poolwire.ArgCount) {
		return h.Batch, nil
	}
	n, err := strconv.Atoi(q.Get(poolwire.ArgCount))
	if err != nil || n < 1 || n > maxFill {
		return 0, fmt.Errorf("the number of ports is %q: give one from 1 to %d", q.Get(poolwire.ArgCount), maxFill)
	}
	return n, nil
}

// newPool returns the standard pool of a node that has no pool yet.
func (h Handler) newPool(ctx context.Context, q url.Values) ([]poolwire.Pool, []portpool.Key, error) {
	k, err := h.StandardPool(ctx, q.Get(poolwire.ArgNode), q.Get(poolwire.ArgSubnet))
	if err != nil {
		return nil, nil, err
	}
	subnet, err := h.SubnetOf(ctx, k)
	return []poolwire.Pool{h.describe(portpool.Status{Key: k}, subnet)}, []portpool.Key{k}, err
}

func (h Handler) free(ctx context.Context, q url.Values) (any, error) {
	if !q.Has(poolwire.ArgAll) && q.Get(poolwire.ArgNode) == "" && q.Get(poolwire.ArgSubnet) == "" {
		return nil, errors.New("free the ports of which node?")
	}
	_, keys, err := h.selected(ctx, q)
	if err != nil {
		return nil, err
	}
	var out poolwire.Freed
	if out.Ports, err = h.Pools.Free(ctx, func(k portpool.Key) bool { return slices.Contains(keys, k) }); err != nil {
		out.Problem = err.Error()
	}
	return out, nil
}

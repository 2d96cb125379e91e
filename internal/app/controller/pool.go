package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-cni/isthmus/internal/poolwire"
	"github.com/isthmus-cni/isthmus/internal/portpool"
)

// poolSocket serves the pools of ready ports to whoever can run a program in
// this container, which is whom Kubernetes lets: there is no port to guard.
type poolSocket struct {
	path string
	desk poolDesk
	log  *slog.Logger
}

// NeedLeaderElection tells the manager to serve at once: who does not lead says so.
func (poolSocket) NeedLeaderElection() bool { return false }

// Start serves until ctx ends. Without it pods are connected all the same.
func (p poolSocket) Start(ctx context.Context) error {
	if err := p.serve(ctx); err != nil {
		p.log.Warn("kubectl ko pool finds no answer here", "err", err)
		<-ctx.Done()
	}
	return nil
}

func (p poolSocket) serve(ctx context.Context) error {
	// An earlier process may have left its socket.
	if err := os.Remove(p.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", p.path)
	if err != nil {
		return err
	}
	if err := os.Chmod(p.path, 0o600); err != nil {
		return errors.Join(err, l.Close())
	}
	s := &http.Server{Handler: p.desk.mux(), ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// poolStock is the pools as an operator sees them.
type poolStock interface {
	Pools() []portpool.Status
	PoolPorts(k portpool.Key) []portpool.PortStatus
	Fill(ctx context.Context, k portpool.Key, n int) (int, error)
	Free(ctx context.Context, meant func(portpool.Key) bool) (int, error)
}

// poolDesk answers what is asked of the pools.
type poolDesk struct {
	// stock is an error where there is none now.
	stock func() (poolStock, error)
	// subnetOf and groupOf are names for people.
	subnetOf func(ctx context.Context, k portpool.Key) (string, error)
	groupOf  func(id string) string
	// standard is the pool of pods that ask for nothing.
	standard func(ctx context.Context, node, subnet string) (portpool.Key, error)
	// batch is how many ports are made if nobody says it.
	batch int
}

// mostMade is how many ports one fill may ask for.
const mostMade = 1000

func (d poolDesk) mux() *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, answer := range map[string]func(context.Context, poolStock, url.Values) (any, error){
		"GET /" + poolwire.List: d.list, "POST /" + poolwire.Fill: d.fill, "POST /" + poolwire.Free: d.free,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			s, err := d.stock()
			if err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
			body, err := answer(r.Context(), s, r.URL.Query())
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(body) // the caller may have gone
		})
	}
	return mux
}

// meant are the pools that a query is about.
func (d poolDesk) meant(ctx context.Context, s poolStock, q url.Values) ([]poolwire.Pool, []portpool.Key, error) {
	var pools []poolwire.Pool
	var keys []portpool.Key
	for _, p := range s.Pools() {
		subnet, err := d.subnetOf(ctx, p.Key)
		if err != nil {
			return nil, nil, err
		}
		node, wanted := q.Get(poolwire.ArgNode), q.Get(poolwire.ArgSubnet)
		if node != "" && node != p.Node || wanted != "" && wanted != subnet && wanted != p.Network {
			continue
		}
		pools, keys = append(pools, d.shown(p, subnet)), append(keys, p.Key)
	}
	return pools, keys, nil
}

// shown is a pool for people.
func (d poolDesk) shown(p portpool.Status, subnet string) poolwire.Pool {
	out := poolwire.Pool{
		Node: p.Node, Subnet: subnet, Project: p.Project, Network: p.Network,
		Ready: p.Ready, Returning: p.Returning, Making: p.Making,
	}
	for id := range strings.SplitSeq(p.Groups, ",") {
		out.Groups = append(out.Groups, d.groupOf(id))
	}
	slices.Sort(out.Groups)
	return out
}

func (d poolDesk) list(ctx context.Context, s poolStock, q url.Values) (any, error) {
	pools, keys, err := d.meant(ctx, s, q)
	for i := range pools {
		if !q.Has(poolwire.ArgPorts) {
			break
		}
		for _, p := range s.PoolPorts(keys[i]) {
			pools[i].Ports = append(pools[i].Ports, poolwire.Port{ID: p.ID, Addrs: p.Addrs, State: p.State})
		}
	}
	return orEmpty(pools), err
}

func orEmpty[T any](all []T) []T { return append([]T{}, all...) }

func (d poolDesk) fill(ctx context.Context, s poolStock, q url.Values) (any, error) {
	n, err := d.count(q)
	if err != nil {
		return nil, err
	}
	pools, keys, err := d.meant(ctx, s, q)
	if len(pools) == 0 && err == nil {
		pools, keys, err = d.first(ctx, q)
	}
	if err != nil {
		return nil, err
	}
	made := make([]poolwire.Made, len(pools))
	for i, k := range keys {
		made[i].Pool = pools[i]
		if made[i].Made, err = s.Fill(ctx, k, n); err != nil {
			made[i].Problem = err.Error()
		}
	}
	return made, nil
}

func (d poolDesk) count(q url.Values) (int, error) {
	if q.Get(poolwire.ArgNode) == "" {
		return 0, errors.New("fill the pools of which node?")
	}
	if !q.Has(poolwire.ArgCount) {
		return d.batch, nil
	}
	n, err := strconv.Atoi(q.Get(poolwire.ArgCount))
	if err != nil || n < 1 || n > mostMade {
		return 0, fmt.Errorf("the number of ports is %q: give one from 1 to %d", q.Get(poolwire.ArgCount), mostMade)
	}
	return n, nil
}

// first is the pool of a node that has none yet.
func (d poolDesk) first(ctx context.Context, q url.Values) ([]poolwire.Pool, []portpool.Key, error) {
	k, err := d.standard(ctx, q.Get(poolwire.ArgNode), q.Get(poolwire.ArgSubnet))
	if err != nil {
		return nil, nil, err
	}
	subnet, err := d.subnetOf(ctx, k)
	return []poolwire.Pool{d.shown(portpool.Status{Key: k}, subnet)}, []portpool.Key{k}, err
}

func (d poolDesk) free(ctx context.Context, s poolStock, q url.Values) (any, error) {
	if !q.Has(poolwire.ArgAll) && q.Get(poolwire.ArgNode) == "" && q.Get(poolwire.ArgSubnet) == "" {
		return nil, errors.New("free the ports of which node?")
	}
	_, keys, err := d.meant(ctx, s, q)
	if err != nil {
		return nil, err
	}
	var out poolwire.Freed
	if out.Ports, err = s.Free(ctx, func(k portpool.Key) bool { return slices.Contains(keys, k) }); err != nil {
		out.Problem = err.Error()
	}
	return out, nil
}

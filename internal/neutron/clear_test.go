package neutron

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/isthmus-cni/isthmus/internal/neutron/neutrontest"
	"github.com/isthmus-cni/isthmus/internal/portpool"
)

// Ports are created for the pool while Clear runs. None is left, and none counts as the
// pool's, which no longer exists.
func TestClearWhileThePoolIsFilled(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	f := startPool(t, c, portpool.Limits{Min: 1, Batch: 1})
	reached, on := holdAnswer(c, http.MethodPost)
	apply(t, f, "pod/ns/last", podWant("ns/last", "node1")) // takes the pool's last port
	<-reached
	cleared := make(chan error, 1)
	go func() {
		ctx, cancel := timeout(t, time.Minute)
		defer cancel()
		_, err := f.Clear(ctx)
		cleared <- err
	}()
	eventually(t, time.Minute, "it waits", func() bool {
		// Stop lets no other task begin.
		ctx, cancel := timeout(t, time.Millisecond)
		defer cancel()
		_, err := f.PortPool.Free(ctx, func(portpool.Key) bool { return false })
		return err != nil
	})
	close(on)
	if err := <-cleared; err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{}, c.Names("ports")); diff != "" {
		t.Error("ports are left:", diff)
	}
}

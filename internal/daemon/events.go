package daemon

import (
	"context"
	"fmt"
	"net/http"

	"k8s.io/client-go/kubernetes/scheme"
	eventsv1 "k8s.io/client-go/kubernetes/typed/events/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
)

// NewRecorder returns a recorder that sends events in the background in the name of
// component. It is for a daemon without a controller-runtime manager; a manager has its
// own recorder. An event that equals an earlier one increases the count of that one.
// stop ends the sending; events that are not sent by then are lost.
func NewRecorder(component string, c *rest.Config, h *http.Client) (_ events.EventRecorder, stop func(), _ error) {
	client, err := eventsv1.NewForConfigAndClient(c, h)
	if err != nil {
		return nil, nil, fmt.Errorf("make a client for events: %w", err)
	}
	b := events.NewBroadcaster(&events.EventSinkImpl{Interface: client})
	ctx, cancel := context.WithCancel(context.Background()) //nolint:forbidigo // events are sent until the returned function is called
	if err := b.StartRecordingToSinkWithContext(ctx); err != nil {
		cancel()
		return nil, nil, fmt.Errorf("start sending events: %w", err)
	}
	return b.NewRecorder(scheme.Scheme, component), func() { cancel(); b.Shutdown() }, nil
}

package poolwire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// Ask sends a request to the controller that listens on socket, and writes the
// response to out. args are a verb and its arguments, NAME=VALUE. It errs if the
// controller does not listen or refuses the request.
func Ask(ctx context.Context, socket string, args []string, out io.Writer) error {
	if len(args) == 0 {
		return errors.New("pool: missing verb: list, fill or free")
	}
	query := url.Values{}
	for _, a := range args[1:] {
		name, value, _ := strings.Cut(a, "=")
		query.Set(name, value)
	}
	method := http.MethodPost
	if args[0] == List {
		method = http.MethodGet
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://controller/"+url.PathEscape(args[0])+"?"+query.Encode(), http.NoBody)
	if err != nil {
		return err
	}
	var d net.Dialer
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.DialContext(ctx, "unix", socket)
	}}}
	answer, err := client.Do(r)
	if err != nil {
		return fmt.Errorf("connect to the controller, which listens only if its settings have a section neutron: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(answer.Body)
		return errors.New(strings.TrimSpace(string(text)))
	}
	_, err = io.Copy(out, answer.Body)
	return err
}

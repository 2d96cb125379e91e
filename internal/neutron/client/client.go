// Package client makes calls to Neutron's API as one user: lists, one method for each
// kind of step, and the classification of errors. It keeps no state and does not decide
// which steps are needed.
package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions"
	"github.com/gophercloud/gophercloud/v2/pagination"

	"github.com/isthmus-cni/isthmus/internal/neutron/plan"
	"github.com/isthmus-cni/isthmus/internal/openstack"
)

// callTimeout is the longest time for one call. A fast Neutron creates ten ports in 3 s,
// a slow one in 30 s.
const callTimeout = time.Minute

// Client makes calls to Neutron as one user.
type Client struct {
	Networking *gophercloud.ServiceClient
	// Identity is Keystone, nil if the catalog has no address of it.
	Identity   *gophercloud.ServiceClient
	Project    string
	Extensions map[string]bool // the aliases of Neutron's extensions
}

// Aliases of the extensions that we use.
const (
	ExtTags         = "standard-attr-tag"
	ExtDescription  = "standard-attr-description"
	ExtPortTags     = "tag-ports-during-bulk-creation"
	ExtPortSecurity = "port-security"
	ExtBinding      = "binding"
	ExtGroups       = "security-group"
	ExtRouters      = "router"
	ExtTrunk        = "trunk"
)

// Connect signs in to a cloud and reads Neutron's extensions. count is called for each
// call, and may be nil.
func Connect(ctx context.Context, cloud, cloudsFile string, count func(kind, verb string, background bool)) (*Client, error) {
	session, err := openstack.SignIn(ctx, openstack.Options{Cloud: cloud, CloudsFile: cloudsFile, Timeout: callTimeout, Count: count})
	if err != nil {
		return nil, err
	}
	a := &Client{Project: session.Project, Identity: session.Identity()}
	if a.Networking, err = session.Network(); err != nil {
		return nil, err
	}
	return a, a.readExtensions(ctx)
}

// readExtensions reads Neutron's extensions. It returns an error if a required one is
// missing.
func (a *Client) readExtensions(ctx context.Context) error {
	pages, err := extensions.List(a.Networking).AllPages(ctx)
	if err != nil {
		return classifyError("ask for", "Neutron's extensions", err)
	}
	all, err := extensions.ExtractExtensions(pages)
	if err != nil {
		return fmt.Errorf("neutron's extensions: %w", err)
	}
	a.Extensions = map[string]bool{}
	for _, e := range all {
		a.Extensions[e.Alias] = true
	}
	for _, needed := range []struct{ alias, what string }{
		{ExtTags, "nobody could tell whose its objects are"},
		{ExtDescription, "nobody could tell whose its objects are"},
		{ExtGroups, "nothing could come to a pod"},
		{ExtRouters, "no network could be reached"},
	} {
		if !a.Extensions[needed.alias] {
			return fmt.Errorf("this Neutron lacks extension %s, without which %s", needed.alias, needed.what)
		}
	}
	return nil
}

// TagsOnCreate returns the kinds that get their tags in the call that creates them.
func (a *Client) TagsOnCreate() plan.TagsOnCreate {
	return plan.TagsOnCreate{plan.KindPort: a.Extensions[ExtPortTags]}
}

func path(k plan.Kind) string { return strings.ReplaceAll(string(k), "_", "-") + "s" }

// listPage is one page of a list of objects of one kind.
type listPage struct {
	pagination.LinkedPageBase
	kind plan.Kind
}

func (p listPage) NextPageURL() (string, error) {
	var links map[string]json.RawMessage
	if err := p.ExtractInto(&links); err != nil {
		return "", err
	}
	var list []gophercloud.Link
	if raw, more := links[string(p.kind)+"s_links"]; more {
		if err := json.Unmarshal(raw, &list); err != nil {
			return "", err
		}
	}
	return gophercloud.ExtractNextURL(list)
}

func (p listPage) IsEmpty() (bool, error) {
	items, err := p.items()
	return len(items) == 0, err
}

func (p listPage) items() ([]Resource, error) {
	var items []Resource
	return items, p.ExtractIntoSlicePtr(&items, string(p.kind)+"s")
}

// List returns all objects of a kind that match a query.
func (a *Client) List(ctx context.Context, k plan.Kind, query url.Values) ([]Resource, error) {
	address := a.Networking.ServiceURL(path(k)) + "?" + query.Encode()
	pager := pagination.NewPager(a.Networking, address, func(r pagination.PageResult) pagination.Page {
		return listPage{pagination.LinkedPageBase{PageResult: r}, k}
	})
	var all []Resource
	err := pager.EachPage(ctx, func(_ context.Context, p pagination.Page) (bool, error) {
		items, err := p.(listPage).items()
		all = append(all, items...)
		return true, err
	})
	return all, classifyError("list", string(k)+"s", err)
}

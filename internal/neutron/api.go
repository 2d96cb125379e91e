package neutron

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

// callTimeout is how long one call may take: Neutron makes ten ports in three
// seconds, and a slow one in thirty.
const callTimeout = time.Minute

// api is Neutron as one user sees it. It sends what it is told.
type api struct {
	client *gophercloud.ServiceClient
	// identity is Keystone, nil where the catalog does not say where it is.
	identity *gophercloud.ServiceClient
	project  string
	aliases  map[string]bool // of Neutron's extensions
}

// Extensions that we ask for.
const (
	extTags         = "standard-attr-tag"
	extDescription  = "standard-attr-description"
	extBirthTags    = "tag-ports-during-bulk-creation"
	extPortSecurity = "port-security"
	extBinding      = "binding"
	extGroups       = "security-group"
	extRouters      = "router"
	extTrunk        = "trunk"
)

// connect signs in and asks what this Neutron can do.
func (f *Fabric) connect(ctx context.Context) (*api, error) {
	session, err := openstack.SignIn(ctx, openstack.Options{Cloud: f.Cloud, CloudsFile: f.CloudsFile, Timeout: callTimeout, Count: f.Count})
	if err != nil {
		return nil, err
	}
	a := &api{project: session.Project, identity: session.Identity()}
	if a.client, err = session.Network(); err != nil {
		return nil, err
	}
	if err := a.ask(ctx); err != nil {
		return nil, err
	}
	f.Log.Info("signed in to OpenStack", "cloud", f.Cloud, "project", a.project)
	return a, nil
}

// ask lists Neutron's extensions, and says which it cannot do without.
func (a *api) ask(ctx context.Context) error {
	pages, err := extensions.List(a.client).AllPages(ctx)
	if err != nil {
		return classifyError("ask for", "Neutron's extensions", err)
	}
	all, err := extensions.ExtractExtensions(pages)
	if err != nil {
		return fmt.Errorf("neutron's extensions: %w", err)
	}
	a.aliases = map[string]bool{}
	for _, e := range all {
		a.aliases[e.Alias] = true
	}
	for _, needed := range []struct{ alias, what string }{
		{extTags, "nobody could tell whose its objects are"},
		{extDescription, "nobody could tell whose its objects are"},
		{extGroups, "nothing could come to a pod"},
		{extRouters, "no network could be reached"},
	} {
		if !a.aliases[needed.alias] {
			return fmt.Errorf("this Neutron lacks extension %s, without which %s", needed.alias, needed.what)
		}
	}
	return nil
}

func (a *api) born() plan.TagsOnCreate {
	return plan.TagsOnCreate{plan.KindPort: a.aliases[extBirthTags]}
}

func path(k plan.Kind) string { return strings.ReplaceAll(string(k), "_", "-") + "s" }

// page is one page of a list of any kind.
type page struct {
	pagination.LinkedPageBase
	kind plan.Kind
}

func (p page) NextPageURL() (string, error) {
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

func (p page) IsEmpty() (bool, error) {
	items, err := p.items()
	return len(items) == 0, err
}

func (p page) items() ([]wire, error) {
	var items []wire
	return items, p.ExtractIntoSlicePtr(&items, string(p.kind)+"s")
}

// list are all objects of a kind that a query finds.
func (a *api) list(ctx context.Context, k plan.Kind, query url.Values) ([]wire, error) {
	address := a.client.ServiceURL(path(k)) + "?" + query.Encode()
	pager := pagination.NewPager(a.client, address, func(r pagination.PageResult) pagination.Page {
		return page{pagination.LinkedPageBase{PageResult: r}, k}
	})
	var all []wire
	err := pager.EachPage(ctx, func(_ context.Context, p pagination.Page) (bool, error) {
		items, err := p.(page).items()
		all = append(all, items...)
		return true, err
	})
	return all, classifyError("list", string(k)+"s", err)
}

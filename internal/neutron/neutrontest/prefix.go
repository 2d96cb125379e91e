package neutrontest

import (
	"maps"
	"net/http"
	"net/netip"
)

// pool completes a new subnet pool.
func (c call) pool(o, requested object) *refusal {
	prefixes := words(requested["prefixes"])
	if len(prefixes) == 0 {
		return refuse(http.StatusBadRequest, "HTTPBadRequest", "Invalid input for prefixes. Reason: at least one is needed.")
	}
	maps.Copy(o, requested)
	o["prefixes"], o["ip_version"] = prefixes, family(netip.MustParsePrefix(prefixes[0]))
	return nil
}

func family(p netip.Prefix) int {
	if p.Addr().Is4() {
		return 4
	}
	return 6
}

// fromPool allocates a prefix from the requested subnet pool, or checks that the
// requested prefix is free. A real Neutron also gives no better error for an exhausted
// pool.
func (c call) fromPool(requested object) *refusal {
	id, asks := requested["subnetpool_id"].(string)
	if !asks {
		return nil
	}
	pool := c.objects["subnetpools"][id]
	if pool == nil {
		return refuse(http.StatusNotFound, "SubnetPoolNotFound", "Subnet pool %s could not be found.", id)
	}
	failed := refuse(http.StatusInternalServerError, "HTTPInternalServerError", "Request Failed: internal server error while processing your request.")
	if text, given := requested["cidr"].(string); given {
		p, err := netip.ParsePrefix(text)
		if err != nil || c.taken(id, p) {
			return failed
		}
		return nil
	}
	bits, _ := requested["prefixlen"].(float64)
	delete(requested, "prefixlen")
	for _, text := range pool["prefixes"].([]string) {
		if p, free := c.freePrefix(id, netip.MustParsePrefix(text), int(bits)); free {
			requested["cidr"] = p.String()
			return nil
		}
	}
	return failed
}

func (c call) freePrefix(pool string, within netip.Prefix, bits int) (netip.Prefix, bool) {
	if bits < within.Bits() {
		return netip.Prefix{}, false
	}
	for p := netip.PrefixFrom(within.Addr(), bits); within.Contains(p.Addr()); p = netip.PrefixFrom(end(p).Next(), bits) {
		if !c.taken(pool, p) {
			return p, true
		}
	}
	return netip.Prefix{}, false
}

// end returns the last address of a prefix.
func end(p netip.Prefix) netip.Addr {
	if a := last(p); p.Contains(a.Next()) {
		return a.Next()
	}
	return last(p)
}

func (c call) taken(pool string, p netip.Prefix) bool {
	for _, s := range c.objects["subnets"] {
		if other, err := netip.ParsePrefix(s["cidr"].(string)); err == nil && s["subnetpool_id"] == pool && other.Overlaps(p) {
			return true
		}
	}
	return false
}

package decide

import (
	"strings"
	"testing"
)

func TestLowQuotas(t *testing.T) {
	for _, row := range []struct {
		name   string
		quotas map[string]Quota
		says   []string
	}{
		{"nothing is known", nil, nil},
		{"any number", map[string]Quota{"security_group": {-1, 500}}, nil},
		{"enough", map[string]Quota{"security_group": {100, 90}, "security_group_rule": {1000, 100}, "port": {500, 400}}, nil},
		{"too few groups, as Neutron has it by default", map[string]Quota{"security_group": {10, 5}, "port": {500, 3}}, []string{"less than 10 of 10 security groups", "--secgroups NUMBER P"}},
		{"all are short", map[string]Quota{"security_group": {10, 1}, "security_group_rule": {100, 60}, "port": {50, 40}}, []string{"security groups", "--secgroup-rules NUMBER P", "--ports NUMBER P"}},
		{"more than there may be", map[string]Quota{"port": {5, 50}}, []string{"of 5 ports"}},
		{"what a cluster does not need", map[string]Quota{"floatingip": {0, 0}}, nil},
	} {
		got := LowQuotas(row.quotas, "P")
		if len(row.says) == 0 && got != "" {
			t.Errorf("%s: %q", row.name, got)
		}
		for _, part := range row.says {
			if !strings.Contains(got, part) {
				t.Errorf("%s: %q does not say %q", row.name, got, part)
			}
		}
	}
}

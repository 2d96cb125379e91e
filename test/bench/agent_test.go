//go:build bench

package bench

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/isthmus-cni/isthmus/internal/settings"
)

// request matches the agent's log line about a request of the CNI plugin.
var request = regexp.MustCompile(`msg="?pod (?:un)?plugged"? .*verb=(\w+) .*unit=pod/` + namespace + `/(\w+)-\S* took=(\S+)`)

// addRequestRows adds rows with the times of the agent's answers to the CNI plugin since a time.
func (b *testbed) addRequestRows(t *testing.T, table *strings.Builder, since time.Time) {
	t.Helper()
	log := b.run(t, "kubectl", "-n", settings.Namespace, "logs", b.agent(t), "--since-time="+since.UTC().Format(time.RFC3339))
	took := map[string][]float64{}
	for _, m := range request.FindAllStringSubmatch(log, -1) {
		d, err := time.ParseDuration(m[3])
		if err != nil {
			t.Fatal(err)
		}
		what := m[1] + " " + m[2]
		took[what] = append(took[what], float64(d.Milliseconds()))
	}
	for _, w := range []podNetwork{warm, cold} {
		for _, verb := range []string{"ADD", "DEL"} {
			all := took[verb+" "+string(w)]
			if len(all) == 0 {
				t.Fatalf("the agent's log tells of no %s of pods %s:\n%s", verb, w, log)
			}
			spread(table, fmt.Sprintf("CNI %s %s, ms", verb, named[w]), all)
		}
	}
}

// spread adds a row with the median and the 99th percentile.
func spread(table *strings.Builder, what string, all []float64) {
	line := fmt.Sprintf("| %s | %.0f | 99th of 100: %.0f; %d pods |\n", what, percentile(all, 50), percentile(all, 99), len(all))
	table.WriteString(line)
	fmt.Print(line)
}

// percentile returns the p-th percentile by the nearest-rank method.
func percentile(all []float64, p float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[max(0, int(math.Ceil(p/100*float64(len(sorted))))-1)]
}

// agent returns the name of the pod of the node's agent.
func (b *testbed) agent(t *testing.T) string {
	t.Helper()
	pods, err := b.kube.CoreV1().Pods(settings.Namespace).List(t.Context(), metav1.ListOptions{
		LabelSelector: "app=isthmus-agent", FieldSelector: "spec.nodeName=" + b.node,
	})
	if err != nil || len(pods.Items) != 1 {
		t.Fatalf("%s has not one agent: %v", b.node, err)
	}
	return pods.Items[0].Name
}

// resident returns the agent's resident memory in the guest, in MiB.
func (b *testbed) resident(t *testing.T) float64 {
	t.Helper()
	text := b.runOn(t, b.node, `awk '/^VmRSS:/ { print $2 }' /proc/$(pidof isthmus-agent)/status`)
	kibibytes, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kibibytes / 1024
}

// runOn runs a script on a host or in a guest and returns its output.
func (b *testbed) runOn(t *testing.T, where, script string) string {
	t.Helper()
	return b.run(t, "isthmus-lab", "exec", where, "--", "sh", "-c", script)
}

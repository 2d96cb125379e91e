package v1

import "cmp"

// PlugAsked is how the user has a Node's pods plugged, by its labels: PlugOVS,
// PlugVLAN, or empty if he does not say.
func PlugAsked(labels map[string]string) string {
	vlan := map[string]string{Plug: PlugVLAN, LabelPodVIF: "nested-vlan"}
	for _, label := range []string{Plug, LabelPodVIF} {
		switch labels[label] {
		case "":
		case vlan[label]:
			return PlugVLAN
		default:
			return PlugOVS
		}
	}
	return ""
}

// Nested tells by a Node's labels and annotations whether its pods are plugged as
// VLANs on its trunk port. What the user says goes before what the agent found.
func Nested(labels, annotations map[string]string) bool {
	return cmp.Or(PlugAsked(labels), annotations[Plug]) == PlugVLAN
}

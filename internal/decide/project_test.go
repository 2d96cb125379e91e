package decide

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/isthmus-cni/isthmus/internal/decide/decidetest"
)

func TestProjectAsked(t *testing.T) {
	for _, row := range []struct{ annotation, id, reason string }{
		{"", "", ""},
		{"0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef", ""},
		{"default", "default", ""},
		{"../users", "", "BadRequest"},
		{"two words", "", "BadRequest"},
	} {
		id, err := ProjectAsked(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "a", Annotations: map[string]string{AnnotationProject: row.annotation}}})
		if id != row.id || decidetest.Reason(err) != row.reason {
			t.Errorf("%q: %q, %v", row.annotation, id, err)
		}
	}
	if id, err := ProjectAsked(nil); id != "" || err != nil {
		t.Errorf("no namespace: %q, %v", id, err)
	}
}

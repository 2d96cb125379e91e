package ko

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/settings"
)

// agents is the name of the agent's DaemonSet, whose image every node has.
const agents = "isthmus-agent"

// nodeTimeout is the time limit for a program on a node, including the start of its pod.
const nodeTimeout = time.Minute

// runOnNode runs argv on a node where the agent runs, because OVN is installed there, and
// prints the output. Its errors say what to do instead.
func (t *tool) runOnNode(ctx context.Context, client kubernetes.Interface, argv []string) error {
	ctx, cancel := context.WithTimeout(ctx, nodeTimeout)
	defer cancel()
	pod, err := onNode(ctx, client, argv)
	if err == nil {
		err = t.runPod(ctx, client, pod)
	}
	var exit Exit
	if err == nil || errors.As(err, &exit) {
		return err
	}
	return fmt.Errorf("there is no %s on your PATH, and none could be run on a node: %w; install it here (Debian: apt install ovn-common)", argv[0], err)
}

// onNode returns a pod that runs argv from a node's own file system. It uses the agent's
// image, because that is on every node and has no files that would hide the node's.
func onNode(ctx context.Context, client kubernetes.Interface, argv []string) (*corev1.Pod, error) {
	set, err := client.AppsV1().DaemonSets(settings.Namespace).Get(ctx, agents, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("find the agents: %w", err)
	}
	selector, err := metav1.LabelSelectorAsSelector(set.Spec.Selector)
	if err != nil {
		return nil, err
	}
	running, err := client.CoreV1().Pods(settings.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return nil, fmt.Errorf("list the agents: %w", err)
	}
	nested, err := nestedNodes(ctx, client)
	if err != nil {
		return nil, err
	}
	for _, p := range running.Items {
		if p.Status.Phase == corev1.PodRunning && len(p.Spec.Containers) > 0 && !nested[p.Spec.NodeName] {
			return podFor(p.Spec.NodeName, p.Spec.Containers[0].Image, argv), nil
		}
	}
	return nil, fmt.Errorf("no pod of DaemonSet %s runs on a node with OVN", agents)
}

// nestedNodes returns the nodes that are virtual machines, where OVN is not installed. It
// returns nil if the user may not list nodes; a program on such a node then fails to
// start.
func nestedNodes(ctx context.Context, client kubernetes.Interface) (map[string]bool, error) {
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if apierrors.IsForbidden(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	nested := map[string]bool{}
	for _, n := range nodes.Items {
		nested[n.Name] = v1.Nested(n.Labels, n.Annotations)
	}
	return nested, nil
}

// podFor returns a pod that runs argv on a node from the node's /usr.
func podFor(node, image string, argv []string) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "ko-", Namespace: settings.Namespace},
		Spec: corev1.PodSpec{
			NodeName:                     node,
			HostNetwork:                  true,
			RestartPolicy:                corev1.RestartPolicyNever,
			AutomountServiceAccountToken: new(bool),
			Tolerations:                  []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			Containers: []corev1.Container{{
				Name: "ko", Image: image, ImagePullPolicy: corev1.PullIfNotPresent,
				Command: []string{"/usr/bin/" + argv[0]}, Args: argv[1:],
				TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
			}},
		},
	}
	// The program's loader is in /lib or /lib64, which are links into /usr.
	for name, path := range map[string]string{"usr": "/usr", "lib": "/lib", "lib64": "/lib64"} {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{
			Name: name, VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: path}},
		})
		c := &pod.Spec.Containers[0]
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: name, MountPath: path, ReadOnly: true})
	}
	return pod
}

// runPod runs pod to its end, prints its output, and deletes it. It returns Exit if the
// program ends with a status other than 0.
func (t *tool) runPod(ctx context.Context, client kubernetes.Interface, pod *corev1.Pod) error {
	pods := client.CoreV1().Pods(pod.Namespace)
	pod, err := pods.Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create a pod: %w", err)
	}
	defer func() {
		// A fresh context, so that the pod is deleted even if ctx has ended.
		now, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_ = pods.Delete(now, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
	}()
	ended, err := waitEnded(ctx, client, pod)
	if err != nil {
		return fmt.Errorf("pod %s/%s on node %s: %w", pod.Namespace, pod.Name, pod.Spec.NodeName, err)
	}
	log, err := pods.GetLogs(pod.Name, &corev1.PodLogOptions{}).Stream(ctx)
	if err != nil {
		return fmt.Errorf("read the output of pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	defer func() { _ = log.Close() }()
	if _, err := io.Copy(t.Out, log); err != nil {
		return err
	}
	if ended.ExitCode != 0 {
		return Exit(ended.ExitCode)
	}
	return nil
}

// waitEnded watches the pod until its only container has ended. It returns an error if
// the program could not be started, or if the pod is deleted.
func waitEnded(ctx context.Context, client kubernetes.Interface, pod *corev1.Pod) (*corev1.ContainerStateTerminated, error) {
	w, err := client.CoreV1().Pods(pod.Namespace).Watch(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, pod.Name).String(),
	})
	if err != nil {
		return nil, err
	}
	defer w.Stop()
	state := "not started"
	for {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: %w", state, ctx.Err())
		case e, open := <-w.ResultChan():
			p, ok := e.Object.(*corev1.Pod)
			if !open || !ok || e.Type == watch.Deleted {
				return nil, fmt.Errorf("%s: the watch ended", state)
			}
			for _, c := range p.Status.ContainerStatuses {
				if c.State.Terminated != nil {
					return started(c.State.Terminated)
				}
				if c.State.Waiting != nil {
					state = "waiting: " + c.State.Waiting.Reason + " " + c.State.Waiting.Message
				}
			}
		}
	}
}

// started returns s, or an error if the program could not be started.
func started(s *corev1.ContainerStateTerminated) (*corev1.ContainerStateTerminated, error) {
	if s.Reason == "StartError" || s.Reason == "ContainerCannotRun" {
		return nil, fmt.Errorf("could not be started (is OVN installed on that node?): %s", s.Message)
	}
	return s, nil
}

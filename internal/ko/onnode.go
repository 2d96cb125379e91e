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

// agents are the DaemonSet whose image every node has.
const agents = "isthmus-agent"

// patience is how long a program on a node may take, its pod's start included.
const patience = time.Minute

// askOnNode runs argv on a node where the agent runs, and thus OVN's packages
// are, and shows what it says. What can go wrong there is said with what to do.
func (t *tool) askOnNode(ctx context.Context, client kubernetes.Interface, argv []string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
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

// onNode is a pod that runs argv from a node's own file system, without an image
// of its own: the agent's image is there, and holds nothing that is in the way.
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

// nestedNodes are virtual machines: they have nothing of OVN. Who may not see
// nodes is told of none, and hears from the program itself if it is not there.
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
	// /lib and /lib64 are links into /usr on today's systems; the program's
	// loader is asked for by these names.
	for name, path := range map[string]string{"usr": "/usr", "lib": "/lib", "lib64": "/lib64"} {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{
			Name: name, VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: path}},
		})
		c := &pod.Spec.Containers[0]
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: name, MountPath: path, ReadOnly: true})
	}
	return pod
}

// runPod runs pod to its end, shows what it said, and takes it away.
func (t *tool) runPod(ctx context.Context, client kubernetes.Interface, pod *corev1.Pod) error {
	pods := client.CoreV1().Pods(pod.Namespace)
	pod, err := pods.Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create a pod: %w", err)
	}
	defer func() {
		// Also when ctx has ended: nothing of ours stays.
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
		return fmt.Errorf("read what pod %s/%s printed: %w", pod.Namespace, pod.Name, err)
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

// waitEnded watches until the pod's only container has ended.
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

// started tells a program that ran from one that could not be started.
func started(s *corev1.ContainerStateTerminated) (*corev1.ContainerStateTerminated, error) {
	if s.Reason == "StartError" || s.Reason == "ContainerCannotRun" {
		return nil, fmt.Errorf("could not be started (is OVN installed on that node?): %s", s.Message)
	}
	return s, nil
}

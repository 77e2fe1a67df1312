package deploy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const system = "kube-system"

// pods are the running ones with a label.
func (c *town) pods(t *testing.T, selector string) []core.Pod {
	t.Helper()
	list, err := c.Client.CoreV1().Pods(system).List(t.Context(), metav1.ListOptions{LabelSelector: selector, FieldSelector: "status.phase=Running"})
	if err != nil {
		t.Fatal(err)
	}
	var present []core.Pod
	for _, pod := range list.Items {
		if pod.DeletionTimestamp == nil {
			present = append(present, pod)
		}
	}
	if len(present) == 0 {
		t.Fatalf("no Pod with %s runs", selector)
	}
	return present
}

// rolledOut returns once the Pods of a Deployment are all of its present template, and ready.
func (c *town) rolledOut(t *testing.T, name string) {
	t.Helper()
	eventually(t, "the rollout of "+name, func(ctx context.Context) error {
		d, err := c.Client.AppsV1().Deployments(system).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		want, s := *d.Spec.Replicas, d.Status
		if s.ObservedGeneration < d.Generation || s.UpdatedReplicas != want || s.ReadyReplicas != want || s.Replicas != want {
			return errors.Join(fmt.Errorf("its status is %+v", s), c.troubles(ctx))
		}
		return nil
	})
}

// daemonSetReady fails unless the Pods of a DaemonSet are all of its present template, and ready.
func (c *town) daemonSetReady(ctx context.Context, name string) error {
	d, err := c.Client.AppsV1().DaemonSets(system).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	want, s := d.Status.DesiredNumberScheduled, d.Status
	if want == 0 || s.ObservedGeneration < d.Generation || s.UpdatedNumberScheduled != want || s.NumberReady != want {
		return errors.Join(fmt.Errorf("its status is %+v", s), c.troubles(ctx))
	}
	return nil
}

// troubles says why Pods are not ready.
func (c *town) troubles(ctx context.Context) error {
	list, err := c.Client.CoreV1().Pods(system).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	var all []error
	for _, pod := range list.Items {
		if pod.DeletionTimestamp != nil {
			all = append(all, fmt.Errorf("%s was to be gone at %v", pod.Name, pod.DeletionTimestamp))
		}
		for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
			if !s.Ready {
				text, _ := c.log(ctx, &pod)
				all = append(all, fmt.Errorf("%s: %+v %+v\n%s", pod.Name, s.State, s.LastTerminationState, text))
			}
		}
	}
	return errors.Join(all...)
}

func (c *town) log(ctx context.Context, pod *core.Pod) (string, error) {
	text, err := c.Client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &core.PodLogOptions{}).DoRaw(ctx)
	return string(text), err
}

// allowed: a program that may not read something says so in its log.
func (c *town) allowed(t *testing.T, pod core.Pod) {
	t.Helper()
	text, err := c.log(t.Context(), &pod)
	if err != nil {
		t.Fatal(err)
	}
	if lower := strings.ToLower(text); strings.Contains(lower, "forbidden") || strings.Contains(lower, "cannot list") {
		t.Errorf("%s lacks a right:\n%s", pod.Name, text)
	}
}

// confined: the program runs as nobody in particular, with one capability, without more to get, in a filesystem that it
// cannot write to, behind a seccomp filter.
func (c *town) confined(t *testing.T, pod core.Pod, program string, capability uint64) {
	t.Helper()
	pid := c.process(t, pod, program)
	status, err := os.ReadFile(filepath.Join("/proc", pid, "status"))
	if err != nil {
		t.Fatal(err)
	}
	set := fmt.Sprintf("%016x", capability)
	for _, want := range []string{
		"Uid:\t65532\t65532\t65532\t65532\n", "Gid:\t65532\t65532\t65532\t65532\n", "CapInh:\t0000000000000000\n", "CapPrm:\t" + set + "\n",
		"CapEff:\t" + set + "\n", "CapBnd:\t" + set + "\n", "NoNewPrivs:\t1\n", "Seccomp:\t2\n",
	} {
		if !strings.Contains(string(status), want) {
			t.Errorf("%s: not %q but\n%s", pod.Name, want, status)
		}
	}
	mounts, err := os.ReadFile(filepath.Join("/proc", pid, "mounts"))
	if err != nil {
		t.Fatal(err)
	}
	root, _, _ := strings.Cut(string(mounts), "\n")
	if f := strings.Fields(root); len(f) < 4 || f[1] != "/" || !strings.HasPrefix(f[3], "ro,") {
		t.Errorf("%s: its root is mounted as %q", pod.Name, root)
	}
}

// process is the number of a Pod's program, in the world.
func (c *town) process(t *testing.T, pod core.Pod, program string) string {
	t.Helper()
	commands, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range commands {
		folder := filepath.Dir(file)
		name, _ := os.ReadFile(file) // it may have ended meanwhile
		groups, _ := os.ReadFile(filepath.Join(folder, "cgroup"))
		if string(name) == program+"\n" && strings.Contains(string(groups), string(pod.UID)) {
			return filepath.Base(folder)
		}
	}
	t.Fatalf("no process %s of Pod %s", program, pod.Name)
	return ""
}

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

// Kubelet does to the Pods of one namespace what scheduler and kubelets would do that DNS can see: it binds them to a node,
// says that they run, at an address of their own, and lets go of those that are deleted. No container is started.
type Kubelet struct {
	client    kubernetes.Interface
	namespace string
	node      string
	next      netip.Addr
	stop      context.CancelFunc
	done      sync.WaitGroup
	mu        sync.Mutex
	err       error
}

// StartKubelet begins with Pods; the first gets the address given.
func StartKubelet(ctx context.Context, client kubernetes.Interface, namespace, node string, first netip.Addr) *Kubelet {
	ctx, stop := context.WithCancel(ctx)
	k := &Kubelet{client: client, namespace: namespace, node: node, next: first, stop: stop}
	k.done.Go(func() {
		for ctx.Err() == nil {
			k.note(k.watch(ctx))
		}
	})
	return k
}

// watch handles Pods until the API server ends the watch, as it does with the first ones after its own start.
func (k *Kubelet) watch(ctx context.Context) error {
	w, err := k.client.CoreV1().Pods(k.namespace).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("watch the Pods of %s: %w", k.namespace, err)
	}
	defer w.Stop()
	for event := range w.ResultChan() {
		if pod, ok := event.Object.(*core.Pod); ok && event.Type != watch.Deleted {
			k.note(k.handle(ctx, pod))
		}
	}
	return nil
}

// Stop ends it and returns the first error that it met.
func (k *Kubelet) Stop() error {
	k.stop()
	k.done.Wait()
	return k.err
}

func (k *Kubelet) note(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err == nil && err != nil && !errors.Is(err, context.Canceled) && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		k.err = err
	}
}

func (k *Kubelet) handle(ctx context.Context, pod *core.Pod) error {
	pods := k.client.CoreV1().Pods(k.namespace)
	switch {
	case pod.DeletionTimestamp != nil:
		now := int64(0)
		return pods.Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
	case pod.Spec.NodeName == "":
		return pods.Bind(ctx, &core.Binding{
			ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name},
			Target:     core.ObjectReference{Kind: "Node", Name: k.node},
		}, metav1.CreateOptions{})
	case pod.Status.PodIP == "":
		pod.Status.Phase = core.PodRunning
		pod.Status.PodIP = k.next.String()
		pod.Status.PodIPs = []core.PodIP{{IP: pod.Status.PodIP}}
		pod.Status.Conditions = []core.PodCondition{{Type: core.PodReady, Status: core.ConditionTrue}}
		k.next = k.next.Next()
		_, err := pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{})
		return err
	}
	return nil
}

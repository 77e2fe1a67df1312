package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// objects writes objects of any kind to an API server, the way `kubectl apply --server-side` does.
type objects struct {
	client dynamic.Interface
	kinds  *restmapper.DeferredDiscoveryRESTMapper
}

func newObjects(c *rest.Config) (*objects, error) {
	config := rest.CopyConfig(c)
	config.ContentConfig = rest.ContentConfig{}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	d, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	return &objects{client, restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(d))}, nil
}

// at is where objects of one kind, name and namespace are.
func (o *objects) at(u *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	kind := u.GroupVersionKind()
	m, err := o.kinds.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return nil, fmt.Errorf("find the API of %s: %w", kind, err)
	}
	if m.Scope.Name() == "root" {
		return o.client.Resource(m.Resource), nil
	}
	return o.client.Resource(m.Resource).Namespace(u.GetNamespace()), nil
}

// apply writes objects, each strictly as it is: a field that the API server does not know is an error. With dry nothing is
// written, but all is checked. What the manager has applied before and does not any more goes.
func (o *objects) apply(ctx context.Context, manager string, list []*unstructured.Unstructured, dry bool) error {
	force := true
	options := metav1.PatchOptions{FieldManager: manager, Force: &force, FieldValidation: metav1.FieldValidationStrict}
	if dry {
		options.DryRun = []string{metav1.DryRunAll}
	}
	var all []error
	for _, u := range list {
		text, err := json.Marshal(u)
		if err == nil {
			var at dynamic.ResourceInterface
			if at, err = o.at(u); err == nil {
				_, err = at.Patch(ctx, u.GetName(), types.ApplyPatchType, text, options)
			}
		}
		if err != nil {
			all = append(all, fmt.Errorf("%s %s: %w", u.GetKind(), u.GetName(), err))
		}
	}
	return errors.Join(all...)
}

// The managers of objects.
const (
	waypost = "waypost"
	vendor  = "vendor" // who installed the cluster
)

// mustApply is apply for what the test cannot go on without.
func (o *objects) mustApply(t *testing.T, manager string, list []*unstructured.Unstructured) {
	t.Helper()
	if err := o.apply(t.Context(), manager, list, false); err != nil {
		t.Fatal(err)
	}
}

// kustomize builds a folder, as `kubectl kustomize` does.
func kustomize(t *testing.T, folder string) []*unstructured.Unstructured {
	t.Helper()
	text, err := build(folder)
	if err != nil {
		t.Fatalf("kustomize %s: %v", folder, err)
	}
	return parse(t, text)
}

func build(folder string) ([]byte, error) {
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		return nil, err
	}
	return built.AsYaml()
}

// parse reads YAML documents; a List counts as what is in it.
func parse(t *testing.T, text []byte) []*unstructured.Unstructured {
	t.Helper()
	var list []*unstructured.Unstructured
	for documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096); ; {
		u := &unstructured.Unstructured{}
		err := documents.Decode(&u.Object)
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatalf("read YAML: %v\n%s", err, text)
		}
		if u.Object != nil {
			list = append(list, u)
		}
	}
}

// one returns the object of a kind and name.
func one(t *testing.T, list []*unstructured.Unstructured, kind, name string) *unstructured.Unstructured {
	t.Helper()
	for _, u := range list {
		if u.GetKind() == kind && u.GetName() == name {
			return u
		}
	}
	t.Fatalf("there is no %s %s", kind, name)
	return nil
}

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// defined is how long an API server may take to serve what a definition brought.
const defined = 20 * time.Second

// Object is an API object of any kind, as a manifest has it.
type Object = unstructured.Unstructured

// ParseManifests reads YAML documents.
func ParseManifests(text []byte) ([]*Object, error) {
	var objects []*Object
	for decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096); ; {
		o := new(Object)
		err := decoder.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("manifest %d: %w", len(objects)+1, err)
		}
		if len(o.Object) > 0 {
			objects = append(objects, o)
		}
	}
}

// Objects writes API objects of any kind.
type Objects struct{ client dynamic.Interface }

// Objects returns a way to write API objects of any kind.
func (a *APIServer) Objects() (*Objects, error) {
	config := rest.CopyConfig(a.Config)
	config.ContentType = "application/json" // what the dynamic client speaks
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client of %s: %w", a.name, err)
	}
	return &Objects{client}, nil
}

// plurals names the resources that are not their kind's name with an s.
var plurals = map[string]string{"Endpoints": "endpoints"}

func (o *Objects) resource(object *Object) dynamic.ResourceInterface {
	gvk := object.GroupVersionKind()
	plural := plurals[gvk.Kind]
	if plural == "" {
		plural = strings.ToLower(gvk.Kind) + "s"
	}
	r := o.client.Resource(schema.GroupVersionResource{Group: gvk.Group, Version: gvk.Version, Resource: plural})
	if object.GetNamespace() == "" {
		return r
	}
	return r.Namespace(object.GetNamespace())
}

// Create creates the objects in order, each with the status that its manifest has. A resource that a definition among
// them brings is waited for.
func (o *Objects) Create(ctx context.Context, objects ...*Object) error {
	for _, object := range objects {
		err := o.create(ctx, object)
		for end := time.Now().Add(defined); apierrors.IsNotFound(err) && object.GetKind() == "ServiceImport" && time.Now().Before(end); {
			err = o.create(ctx, object)
		}
		if err != nil {
			return fmt.Errorf("create %s %s/%s: %w", object.GetKind(), object.GetNamespace(), object.GetName(), err)
		}
	}
	return nil
}

func (o *Objects) create(ctx context.Context, object *Object) error {
	r := o.resource(object)
	created, err := r.Create(ctx, object, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	status, ok := object.Object["status"]
	if !ok {
		return nil
	}
	created.Object["status"] = status
	_, err = r.UpdateStatus(ctx, created, metav1.UpdateOptions{})
	return err
}

// Update replaces an object, whatever its version is, and its status where the manifest has one.
func (o *Objects) Update(ctx context.Context, object *Object) error {
	r := o.resource(object)
	old, err := r.Get(ctx, object.GetName(), metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("update %s %s/%s: %w", object.GetKind(), object.GetNamespace(), object.GetName(), err)
	}
	object = object.DeepCopy()
	object.SetResourceVersion(old.GetResourceVersion())
	updated, err := r.Update(ctx, object, metav1.UpdateOptions{})
	if err == nil && object.Object["status"] != nil {
		updated.Object["status"] = object.Object["status"]
		_, err = r.UpdateStatus(ctx, updated, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("update %s %s/%s: %w", object.GetKind(), object.GetNamespace(), object.GetName(), err)
	}
	return nil
}

// Delete deletes the objects, last first and at once. One that is gone already is deleted.
func (o *Objects) Delete(ctx context.Context, objects ...*Object) error {
	now := int64(0)
	for i := len(objects) - 1; i >= 0; i-- {
		err := o.resource(objects[i]).Delete(ctx, objects[i].GetName(), metav1.DeleteOptions{GracePeriodSeconds: &now})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete %s %s/%s: %w", objects[i].GetKind(), objects[i].GetNamespace(), objects[i].GetName(), err)
		}
	}
	return nil
}

// AwaitGone returns when none of the objects is there any more: Namespaces take a while.
func (o *Objects) AwaitGone(ctx context.Context, objects ...*Object) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for _, object := range objects {
		for {
			_, err := o.resource(object).Get(ctx, object.GetName(), metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("wait for the end of %s %s/%s: %w", object.GetKind(), object.GetNamespace(), object.GetName(), ctx.Err())
			case <-ticker.C:
			}
		}
	}
	return nil
}

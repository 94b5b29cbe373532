"""Amazon ECR: repositories, tags, images, indexes, deletion."""

import hashlib
import json

NO_PAGES = "answers everything in one page"
NO_LIMIT = "knows no limit of 100 image ids"
NO_LAYERS = "does not look for an image's layers"
CHILDREN = "lets go of the child of an index"
ONE_TAG = "deletes the image together with one of its tags"
BYTES = "counts no bytes"

# Label of the call: how the emulator is wrong there.
DEVIATIONS = {
    "moto": {
        "first page": NO_PAGES,
        "more pages": NO_PAGES,
        "first page of images": NO_PAGES,
        "more pages of images": NO_PAGES,
        "digest of one": "makes an image's digest of something else than the manifest's bytes",
        "put, missing repository": "fails with status 500",
        "describe 101": NO_LIMIT,
        "delete 101": NO_LIMIT,
        "get": "answers another tag of the image than the one that was asked for",
        "put, missing layer": NO_LAYERS,
        "move an immutable tag": "calls it ImageAlreadyExistsException",
        "delete, tag of another digest": "calls it ImageNotFound",
        "delete a child": CHILDREN,
        "delete the children": CHILDREN,
    },
    "ministack": {
        "more pages": "names no next page of repositories",
        "first page of images": NO_PAGES,
        "more pages of images": NO_PAGES,
        "create, bad name": "takes any name",
        "upload app {}": BYTES,
        "upload app one": BYTES,
        "upload app two": BYTES,
        "upload app three": BYTES,
        "upload fixed {}": BYTES,
        "upload fixed one": BYTES,
        "upload fixed two": BYTES,
        "upload fixed three": BYTES,
        "put one again": "takes the same image with the same tag twice",
        "put, missing layer": NO_LAYERS,
        "describe missing tag": "answers an empty list",
        "describe missing digest": "answers an empty list",
        "describe 101": NO_LIMIT,
        "delete 101": NO_LIMIT,
        "list images": "lists an image with only one of its tags",
        "put immutable again": "calls it ImageTagAlreadyExistsException",
        "delete, tag of another digest": "heeds only the tag",
        "describe after deleting one tag": ONE_TAG,
        "delete the last tag": "went by the tag before, together with the image",
        "describe after deleting the last tag": ONE_TAG,
        "describe with index": ONE_TAG,
        "delete a child": CHILDREN,
        "delete the children": CHILDREN,
        "describe at the end": ONE_TAG,
    },
}

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = b"{}"
DETAILS = "imageDetails[].{digest: imageDigest, tags: sort(imageTags || `[]`)}"
DELETED = "{deleted: imageIds[].[imageDigest, imageTag], failures: failures[].[imageId, failureCode]}"


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def manifest(layer):
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": digest(CONFIG),
                "size": len(CONFIG),
            },
            "layers": [
                {
                    "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                    "digest": digest(layer),
                    "size": len(layer),
                }
            ],
        }
    )


def index(*manifests):
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [
                {
                    "mediaType": MANIFEST,
                    "digest": digest(child.encode()),
                    "size": len(child),
                    "platform": {"os": "linux", "architecture": architecture},
                }
                for child, architecture in zip(manifests, ["amd64", "arm64"])
            ],
        }
    )


def run(record):
    ecr = record.client("ecr")
    call = record.call

    # Repositories.
    created = "repository.[repositoryName, registryId, imageTagMutability, repositoryArn]"
    app = call("create", ecr.create_repository, created, repositoryName="app")
    call("create twice", ecr.create_repository, created, repositoryName="app")
    call("create immutable", ecr.create_repository, created, repositoryName="fixed", imageTagMutability="IMMUTABLE")
    names = "sort(repositories[].repositoryName)"
    call("describe all repositories", ecr.describe_repositories, names)
    call("describe one repository", ecr.describe_repositories, names, repositoryNames=["app"])
    call("describe missing repository", ecr.describe_repositories, names, repositoryNames=["none"])
    page = call("first page", ecr.describe_repositories, "length(repositories)", maxResults=1)
    call("more pages", lambda: {"more": "nextToken" in page}, "more")

    # Tags of repositories.
    arn = app["repository"]["repositoryArn"]
    tags = "sort_by(tags, &Key)"
    call("tag", ecr.tag_resource, "`true`", resourceArn=arn, tags=[{"Key": "ecr-cleanup", "Value": "enabled"}])
    call("tag more", ecr.tag_resource, "`true`", resourceArn=arn, tags=[{"Key": "team", "Value": "a"}])
    call("list tags", ecr.list_tags_for_resource, tags, resourceArn=arn)
    call("untag", ecr.untag_resource, "`true`", resourceArn=arn, tagKeys=["team"])
    call("list tags after untag", ecr.list_tags_for_resource, tags, resourceArn=arn)
    call("list tags of missing", ecr.list_tags_for_resource, tags, resourceArn=arn.replace("/app", "/none"))

    # Layers and images.
    for repository in ["app", "fixed"]:
        for blob in [CONFIG, b"one", b"two", b"three"]:
            label = f"{repository} {blob.decode()}"
            upload = call(f"initiate {label}", ecr.initiate_layer_upload, "`true`", repositoryName=repository)
            upload_id = upload.get("uploadId", "none")
            call(
                f"upload {label}",
                ecr.upload_layer_part,
                "lastByteReceived",
                repositoryName=repository,
                uploadId=upload_id,
                partFirstByte=0,
                partLastByte=len(blob) - 1,
                layerPartBlob=blob,
            )
            call(
                f"complete {label}",
                ecr.complete_layer_upload,
                "layerDigest",
                repositoryName=repository,
                uploadId=upload_id,
                layerDigests=[digest(blob)],
            )
    one, two, three = manifest(b"one"), manifest(b"two"), manifest(b"three")
    alias = {one: "ONE", two: "TWO", three: "THREE"}
    made = {}

    def put(label, content, tag=None, repository="app"):
        """Pushes, and remembers the digest that this implementation gives the image."""
        tagged = {} if tag is None else {"imageTag": tag}
        answer = call(
            label, ecr.put_image, "image.[repositoryName, imageId.imageTag]", repositoryName=repository,
            imageManifest=content, imageManifestMediaType=json.loads(content)["mediaType"], **tagged,
        )
        if answer and content in alias:
            made[content] = answer["image"]["imageId"]["imageDigest"]
            record.aliases[made[content]] = alias[content]
        return answer

    def details(label, **parameters):
        return call(label, ecr.describe_images, DETAILS, repositoryName="app", **parameters)

    def delete(label, *image_ids):
        return call(label, ecr.batch_delete_image, DELETED, repositoryName="app", imageIds=list(image_ids))

    put("put one", one, "v1")
    call("digest of one", lambda: {"right": made[one] == digest(one.encode())}, "right")
    put("put one with a second tag", one, "stable")
    put("put one again", one, "v1")
    put("put two", two, "v2")
    put("put, missing repository", one, "v1", repository="none")
    details("describe images")
    details("describe by tag", imageIds=[{"imageTag": "stable"}])
    details("describe by digest", imageIds=[{"imageDigest": made[two]}])
    details("describe missing tag", imageIds=[{"imageTag": "none"}])
    details("describe missing digest", imageIds=[{"imageDigest": digest(b"none")}])
    details("describe 101", imageIds=[{"imageTag": f"t{number}"} for number in range(101)])
    call(
        "media type", ecr.describe_images, "imageDetails[].imageManifestMediaType",
        repositoryName="app", imageIds=[{"imageTag": "v1"}],
    )
    call(
        "list images", ecr.list_images, "sort_by(imageIds, &imageTag)[].[imageTag, imageDigest]",
        repositoryName="app",
    )
    page = call("first page of images", ecr.describe_images, "length(imageDetails)", repositoryName="app", maxResults=1)
    call("more pages of images", lambda: {"more": "nextToken" in page}, "more")
    got = "{images: images[].imageId, failures: failures[].[imageId, failureCode]}"
    call("get", ecr.batch_get_image, got, repositoryName="app", imageIds=[{"imageTag": "v1"}])
    call("get missing tag", ecr.batch_get_image, got, repositoryName="app", imageIds=[{"imageTag": "none"}])
    call(
        "manifest as pushed", ecr.batch_get_image, "images[].imageManifest",
        repositoryName="app", imageIds=[{"imageTag": "v1"}],
    )

    put("put, missing layer", manifest(b"never uploaded"), "missing", repository="fixed")

    # Tags that move, and tags that cannot.
    put("move a tag", two, "stable")
    details("describe after the move")
    put("put immutable", one, "v1", repository="fixed")
    put("put immutable again", one, "v1", repository="fixed")
    put("move an immutable tag", two, "v1", repository="fixed")
    put("second immutable tag", one, "v2", repository="fixed")

    # Deletion.
    delete("delete one of two tags", {"imageTag": "stable"})
    details("describe after deleting one tag")
    delete("delete missing tag", {"imageTag": "none"})
    delete("delete missing digest", {"imageDigest": digest(b"none")})
    delete("delete, tag of another digest", {"imageTag": "v1", "imageDigest": made[two]})
    delete("delete 101", *[{"imageTag": f"t{number}"} for number in range(101)])
    delete("delete the last tag", {"imageTag": "v1"})
    details("describe after deleting the last tag")

    # An index holds its children.
    put("put child one", one)
    put("put child three", three)
    both = index(one, three)
    alias[both] = "INDEX"
    put("put index", both, "multi")
    details("describe with index")
    delete("delete a child", {"imageDigest": made[one]})
    delete("delete index by digest", {"imageDigest": made[both]})
    delete("delete the children", {"imageDigest": made[one]}, {"imageDigest": made[three]})
    details("describe at the end")

    put("put two in the end", two, "v3")

    # Repository policies.
    policy = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": "arn:aws:iam::210987654321:root"},
                    "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
                }
            ],
        }
    )
    call("no policy", ecr.get_repository_policy, "`true`", repositoryName="app")
    call("set policy", ecr.set_repository_policy, "repositoryName", repositoryName="app", policyText=policy)
    call("get policy", ecr.get_repository_policy, "repositoryName", repositoryName="app")
    call("delete policy", ecr.delete_repository_policy, "repositoryName", repositoryName="app")

    # The end of a repository.
    deleted = "repository.repositoryName"
    call("delete repository with images", ecr.delete_repository, deleted, repositoryName="app")
    call("delete repository by force", ecr.delete_repository, deleted, repositoryName="app", force=True)
    call("delete missing repository", ecr.delete_repository, deleted, repositoryName="app")
    call("create, bad name", ecr.create_repository, created, repositoryName="App")

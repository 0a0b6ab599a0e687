"""What moto lacks of S3, put into its own classes: in it every upload in parts was begun in 2010. Here each has the time
at which it was."""
import datetime
import re

from moto.s3 import models, responses

begin, listed = models.FakeMultipart.__init__, responses.S3Response.list_multipart_uploads


def begun(self, *given, **named):
    begin(self, *given, **named)
    self.begun = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.123Z")


def list_multipart_uploads(self):
    status, headers, body = listed(self)
    text = body.decode() if isinstance(body, bytes) else body
    for upload in self.backend.list_multipart_uploads(self.bucket_name).values():
        text = re.sub(r"(<UploadId>%s</UploadId>.*?<Initiated>)[^<]*" % re.escape(upload.id), r"\g<1>" + upload.begun,
                      text, flags=re.DOTALL)
    return status, headers, text


models.FakeMultipart.__init__ = begun
responses.S3Response.list_multipart_uploads = list_multipart_uploads

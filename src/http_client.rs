//! What the exporter's HTTP calls to WeChat and to token servers have in common.

use reqwest::Response;

/// Reads the reply's body; `None` if it is longer than `max` bytes.
///
/// # Errors
/// Fails if the connection breaks or the call times out.
pub(crate) async fn body(
    response: &mut Response,
    max: usize,
) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let announced = response.content_length().unwrap_or(0);
    let announced = usize::try_from(announced).unwrap_or(usize::MAX);
    if announced > max {
        return Ok(None);
    }
    // If the announced length is wrong, the capacity that is never written to takes no memory.
    let mut body = Vec::with_capacity(announced);
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > max {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}
